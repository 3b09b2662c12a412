/** The worker's side of the view of attention: looks at models, and teaches maps. */

import { isMapPath } from '../../attention/mapParams.ts'
import type { Params } from '../../base/array.ts'
import type { Job } from '../../base/progress.ts'
import { createDistillation } from '../../convert/distill.ts'
import { distillDefaults } from '../../convert/stages.ts'
import { batches, encodeDocuments } from '../../io/batches.ts'
import { documentsOf } from '../../io/corpus.ts'
import { readWhole } from '../../io/json.ts'
import { stepOptions } from '../../train/pretrain.ts'
import { train } from '../../train/train.ts'
import type { Host } from '../worker/host.ts'
import type { WorkerJob } from '../worker/job.ts'
import { mapSteps } from '../worker/mapSteps.ts'
import { openModel } from '../worker/models.ts'
import { type Lens, openLens } from './lens.ts'
import type { Through } from './types.ts'

export const look: WorkerJob<'look'> = async function* (question, host) {
  const lens = yield* lensOf(question, host)
  return lens.look(question)
}

/** What a lesson is on, of the training text: enough for it, and quickly encoded. */
const lessonBytes = 300_000
const lessonLength = 64
/** Steps after which a map is kept: most happens early. */
const isKept = (step: number, steps: number) => [2, 5, 10, 20].includes(step) || step % 20 === 0 || step === steps

export const learn: WorkerJob<'learn'> = async function* ({ map, steps, ...choice }, host, signal) {
  const lens = yield* lensOf(choice, host)
  const text = new TextDecoder().decode(await readWhole(yield* host.folder('texts/brown'), 'train.txt'))
  const tokens = encodeDocuments(lens.tokenizer, documentsOf(text.slice(0, lessonBytes)))
  const student = lens.student(map)
  const objective = createDistillation(await host.device(choice.device), student.config, { loss: distillDefaults.loss })
  const recipe = { ...distillDefaults, steps, length: lessonLength, seed: 0, adamw: { weightDecay: 0 } }
  try {
    const { curve } = yield* train(objective, student.params, {
      ...stepOptions(recipe),
      phase: `distil ${map}`,
      batches: batches(tokens, recipe),
      trains: isMapPath,
      clock: host.clock,
      signal,
      checkpoint: {
        every: 1,
        async save({ step, params }) {
          if (step > 0 && isKept(step, steps)) lens.note(map, step, copied(params))
        },
      },
    })
    return { steps, loss: curve.at(-1)?.loss ?? Number.NaN }
  } finally {
    await objective.dispose()
  }
}

/** Maps as they are now: the next step changes the arrays. */
function copied(params: Params): Params {
  const maps = Object.entries(params).filter(([path]) => isMapPath(path))
  return Object.fromEntries(maps.map(([path, array]) => [path, { ...array, data: array.data.slice() }]))
}

/** The lens of each worker, with what it was opened for; another choice takes its place. */
const lenses = new WeakMap<Host, { readonly key: string; readonly lens: Lens }>()

async function* lensOf({ device, model, choice }: Through, host: Host): Job<Lens> {
  const key = `${device} ${choice}`
  const old = lenses.get(host)
  if (old?.key === key) return old.lens
  await old?.lens.dispose()
  lenses.delete(host)
  const isBundled = model.kind === 'site' && !model.converted
  const stored = isBundled ? await mapSteps(yield* host.folder('models/tiny-maps')) : undefined
  const { model: opened, tokenizer } = yield* openModel(host, model)
  const lens = openLens(await host.device(device), opened, tokenizer, stored)
  lenses.set(host, { key, lens })
  return lens
}
