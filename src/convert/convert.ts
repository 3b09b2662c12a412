/** The story of a conversion: score, linearize, distil, finetune, score again, beside what it must be compared with. */

import type { HybridPart } from '../attention/kinds/hybridScores.ts'
import { isMapPath } from '../attention/mapParams.ts'
import { attentionOf, isDistilled, planFor, planNamed } from '../attention/plan.ts'
import type { NDArray } from '../base/array.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { type FidelityOptions, fidelity, type HeadFidelity } from '../evaluate/fidelity.ts'
import type { Batch } from '../execute/objective.ts'
import type { Score } from '../execute/perplexity.ts'
import { batches, heldOut } from '../io/batches.ts'
import type { Model } from '../models/model.ts'
import type { CurvePoint } from '../train/train.ts'
import { linearize } from './linearize.ts'
import { distilled, finetuned, idle, type Stage, type StageJob, scored } from './stages.ts'

/** What is converted, to what, beside what. */
export interface ConvertJob extends StageJob {
  /** All of it, or what its blocks lack of it. */
  readonly teacher: Model
  /** What is converted to, by its full name: a feature map or another attention. */
  readonly map: string
  /** What gets the same finetuning for comparison, by full names. */
  readonly compare: readonly string[]
  /** Batches that fidelity is measured on. */
  readonly fidelityBatches: number
}

/** One model of the comparison. */
export interface Entry {
  readonly name: string
  readonly model: Model
  readonly score: Score
  /** Only of linear models. */
  readonly heads?: readonly HeadFidelity[]
  /** Seconds of making it, its earlier stages included. */
  readonly seconds: number
}

/** The loss of one stage. */
export interface StageCurve {
  readonly name: string
  readonly phase: string
  readonly points: readonly CurvePoint[]
}

/** What a conversion ends with. */
export interface Conversion {
  /** Where blocks are read as they are needed, without their weights, and with its adapter. */
  readonly model: Model
  readonly entries: readonly Entry[]
  readonly curves: readonly StageCurve[]
}

/** The name of the converted model's rows: all Hedgehog variants are `hedgehog`, other kinds than linear their kind. */
export function rowName(map: string): string {
  const { kind } = planNamed(map)
  if (kind !== 'linear') return kind
  return map.startsWith('hedgehog') ? 'hedgehog' : map
}

/**
 * Converts a model. Rows: `teacher`, `teacher-finetuned`, `untrained`, `hedgehog-distilled`, `hedgehog`, and for each
 * compared map `NAME-untrained` and `NAME`; all finetuned with one recipe on the same batches in the same order.
 * @throws RangeError for too little text or a teacher that is linear already; Interrupted when `signal` aborts; Error
 * for a loss that is not finite.
 */
export async function* convert(job: ConvertJob): Job<Conversion> {
  const { teacher, map } = job
  checkJob(job)
  const entries: Entry[] = []
  const curves: StageCurve[] = []
  const own = rowName(map)

  yield* note('teacher', teacher, 0)
  const tuned = yield* finetune('teacher-finetuned', teacher)
  yield* note('teacher-finetuned', tuned.model, tuned.seconds)

  const student = linearize(teacher, map, random(job.seed).split('maps'))
  yield* note('untrained', student, 0, 'teacher')
  const imitating = yield* distil(`${own}-distilled`, student)
  yield* note(`${own}-distilled`, imitating.model, imitating.seconds, 'teacher')
  const converted = yield* finetune(own, imitating.model)
  yield* note(own, converted.model, imitating.seconds + converted.seconds, 'student')
  for (const [name, control] of controlsOf(converted.model)) yield* note(`${own}-${name}`, control, 0)

  for (const other of comparedMaps(job)) {
    const swapped = linearize(teacher, other, random(job.seed).split(other))
    yield* note(`${other}-untrained`, swapped, 0, 'teacher')
    const began = isDistilled(planNamed(other)) ? yield* distil(`${other}-distilled`, swapped) : idle(swapped)
    const compared = yield* finetune(other, began.model)
    yield* note(other, compared.model, began.seconds + compared.seconds, 'student')
  }
  return { model: converted.model, entries, curves }

  /** Scores a model on the test text and adds it to the entries. */
  async function* note(name: string, model: Model, seconds: number, stream?: FidelityOptions['stream']): Job<void> {
    const score = yield* scored(job, name, model)
    const ids = fidelityIds(job)
    // Without attention there are no weights to compare.
    const weighs = model.config.attention.every(({ kind }) => kind !== 'none')
    const options = stream && weighs && { stream, ...(job.blocks && { blocks: job.blocks }) }
    const heads = options ? await fidelity(job.device, teacher, model, ids, options) : undefined
    entries.push({ name, model, score, seconds, ...(heads && { heads }) })
  }

  async function* distil(name: string, model: Model): Job<Stage> {
    return kept(name, 'distill', yield* distilled(job, name, model))
  }

  async function* finetune(name: string, model: Model): Job<Stage> {
    return kept(name, 'finetune', yield* finetuned(job, name, model))
  }

  function kept(name: string, phase: string, stage: Stage): Stage {
    if (stage.curve) curves.push({ name, phase, points: stage.curve })
    return stage
  }
}

/** What shows which part of a hybrid does the work: each part alone, and neither. Empty for other models. */
export function controlsOf({ config, params }: Model): [name: string, control: Model][] {
  if (config.attention.every(({ kind }) => kind !== 'hybrid')) return []
  const weights = Object.fromEntries(Object.entries(params).filter(([path]) => !isMapPath(path)))
  const parted = (part: HybridPart) => config.attention.map((p) => (p.kind === 'hybrid' ? { ...p, part } : p))
  return [
    ['linear-only', { config: { ...config, attention: parted('linear') }, params }],
    ['window-only', { config: { ...config, attention: parted('window') }, params }],
    ['none', { config: { ...config, attention: config.attention.map(() => ({ kind: 'none' })) }, params: weights }],
  ]
}

/** The maps that are compared, each once and without the one converted to, whose rows are there anyway. */
export function comparedMaps({ map, compare }: Pick<ConvertJob, 'map' | 'compare'>): string[] {
  return [...new Set(compare)].filter((other) => other !== map)
}

/**
 * Finds what would else fail only after minutes of work.
 * @throws RangeError for too little text, a teacher that is linear already, an attention with too few positions, or
 * weights that would have to learn though they are read as they are needed.
 */
export function checkJob(job: ConvertJob): void {
  // A window that is no shorter than the text hides nothing.
  const { length } = job.distill
  const layer = job.teacher.config.attention.findIndex(
    (plan) => plan.kind !== 'softmax' && !(plan.kind === 'window' && plan.window >= length),
  )
  if (layer >= 0)
    throw new RangeError(`convert: layer ${layer} of the model is not softmax attention; want a Transformer`)
  if (job.blocks && !job.lora && job.finetune.steps > 0) {
    throw new RangeError(
      'convert: weights that are read as they are needed do not learn; want an adapter (lora), or no steps of finetuning',
    )
  }
  const longest = Math.max(job.distill.length, job.finetune.length)
  for (const name of [job.map, ...comparedMaps(job)]) {
    const { positions = longest } = attentionOf(planFor(planNamed(name), job.teacher.config.maxLength))
    if (positions < longest)
      throw new RangeError(`convert: ${name} has ${positions} positions, want at least the length of ${longest} tokens`)
  }
  const parts = [
    ['training', () => batches(job.trainTokens, job.finetune)],
    ['validation', () => heldOut(job.validationTokens, job.finetune)],
    ['test', () => heldOut(job.testTokens, job.finetune)],
  ] as const
  for (const [name, open] of parts) {
    try {
      open()
    } catch (error) {
      throw new RangeError(`convert: ${name} text: ${(error as Error).message}`, { cause: error })
    }
  }
}

/** Sequences whose heads are compared at once. */
export const comparedSequences = 2

/** The batches that fidelity is measured on: the start of the test text. */
function fidelityIds(job: Pick<ConvertJob, 'testTokens' | 'finetune' | 'fidelityBatches'>): NDArray[] {
  const blocks: Batch[] = [...heldOut(job.testTokens, { length: job.finetune.length, batch: comparedSequences })]
  return blocks.slice(0, job.fidelityBatches).map(({ ids }) => ids)
}
