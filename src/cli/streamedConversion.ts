/** A conversion of a model whose blocks are read as they are needed: the runs that are planned for. */

import { isDistilled, planNamed } from '../attention/plan.ts'
import { random } from '../base/random.ts'
import { type ConvertJob, comparedMaps, comparedSequences } from '../convert/convert.ts'
import { linearized, mapSpecs } from '../convert/linearize.ts'
import { countParams } from '../nn/params.ts'
import { addLora } from '../train/lora.ts'
import type { StreamedRun } from './streaming.ts'

/** What a conversion runs: distillation, finetuning with its scores, or those alone, and the comparison of heads. */
export function runsOf(job: ConvertJob): StreamedRun[] {
  const { distill, finetune } = job
  const names = [job.map, ...comparedMaps(job)]
  const maps = names.map((name) => countParams(mapSpecs(linearized(job.teacher.config, name))))
  const distilled = maps.filter((_, i) => isDistilled(planNamed(names[i]!)))
  const adapter = countAdapter(job)
  const learned = { distill: Math.max(0, ...distilled), finetune: adapter + Math.max(...maps) }
  // The finetuned teacher's adapter; of each map the untrained one, the distilled, and the finetuned with its adapter.
  const kept = adapter * (1 + maps.length) + 3 * maps.reduce((sum, count) => sum + count, 0)
  // A stage that is gone on with has its stored state beside its own.
  const held = kept + 3 * Math.max(learned.distill, learned.finetune)
  const { batch, length } = finetune
  return [
    { batch: distill.batch, length: distill.length, learned: learned.distill, held, pass: 'distill' },
    finetune.steps > 0
      ? { batch, length, learned: learned.finetune, held, pass: 'finetune' }
      : { batch, length, learned: 0, held, pass: 'score' },
    { batch: comparedSequences, length, learned: 0, held, pass: 'distill' },
  ]
}

function countAdapter({ teacher: { config }, lora, finetune }: ConvertJob): number {
  return lora && finetune.steps > 0 ? countParams(addLora({ config, params: {} }, lora, random(0)).params) : 0
}
