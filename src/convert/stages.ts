/** The stages that conversions are made of, on text: distil the maps, finetune all weights, score. */

import type { DistillLoss } from '../attention/distillation.ts'
import { isMapPath } from '../attention/mapParams.ts'
import type { Params } from '../base/array.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { type Streams, streamsOf } from '../execute/backward.ts'
import { createForward } from '../execute/forward.ts'
import type { Batch } from '../execute/objective.ts'
import { type Score, scoreJob } from '../execute/perplexity.ts'
import { batches, heldOut } from '../io/batches.ts'
import type { Model } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import { adapterTrains, addLora, type LoraOptions } from '../train/lora.ts'
import { mergeLora } from '../train/mergeLora.ts'
import { type Recipe, stepOptions, trainOnText } from '../train/pretrain.ts'
import { runStage, type StageHost } from '../train/stage.ts'
import { type CurvePoint, type Trained, type TrainOptions, train } from '../train/train.ts'
import { createDistillation, type Distillation } from './distill.ts'

/** What all stages of a conversion share. With blocks that models do not have, adapters stay beside them. */
export interface StageJob extends StageHost, Streams {
  readonly device: Device
  readonly trainTokens: Int32Array
  readonly validationTokens: Int32Array
  readonly testTokens: Int32Array
  readonly distill: DistillRecipe
  readonly finetune: Recipe
  /** Finetuning learns an adapter, which is merged at its end, and maps. Default: all weights learn. */
  readonly lora?: LoraOptions
  readonly seed: number
}

/** How maps learn from text. */
export interface DistillRecipe extends Recipe {
  readonly loss: DistillLoss
  /** How often they are updated in a step, as in {@link createDistillation}. Default 1. */
  readonly updates?: number
}

/** What a distillation alone needs. */
export type DistillJob = Omit<StageJob, 'testTokens' | 'finetune' | 'seed'>

/** The recipe of distillation that was chosen on the bundled model: docs/results/tiny.md tells what was tried. */
export const distillDefaults = { steps: 450, learningRate: 3e-2, batch: 4, loss: 'both' } as const

/** A model as a stage left it; without a curve where there was nothing to do. */
export interface Stage {
  readonly model: Model
  readonly seconds: number
  readonly curve?: readonly CurvePoint[]
}

/** A stage that did nothing. */
export const idle = (model: Model): Stage => ({ model, seconds: 0 })

/** Held-out batches that curves are validated on; the final scores are on the whole test text. */
const validationBatches = 4

/** What maps learn from: batches of any kind, and how. */
export interface MapLearning
  extends Pick<
    TrainOptions,
    'steps' | 'batches' | 'optimizer' | 'learningRate' | 'schedule' | 'scheduleOptions' | 'clip' | 'accumulate' | 'seed'
  > {
  readonly loss: DistillLoss
  readonly updates?: number
  /** Held-out batches, and steps between their losses. */
  readonly validate?: { readonly every: number; readonly batches: readonly Batch[] }
}

/** Only the maps learn, to imitate softmax attention; idle for a model without maps. */
export async function* mapsLearned(
  host: StageHost & Pick<StageJob, 'device' | 'blocks'>,
  name: string,
  model: Model,
  { loss, updates = 1, ...learning }: MapLearning,
): Job<Stage> {
  if (!Object.keys(model.params).some(isMapPath) || learning.steps === 0) return idle(model)
  const { device, blocks } = host
  const objective = createDistillation(device, model.config, { loss, updates, ...(blocks && { blocks }) })
  const frozen = Object.entries(model.params).filter(([path]) => !isMapPath(path))
  const release = device.keep?.(frozen.map(([, array]) => array))
  try {
    const { params, seconds, curve } = yield* runMaps(host, name, objective, model.params, learning)
    return { model: { ...model, params }, seconds, curve }
  } finally {
    release?.()
    await objective.dispose()
  }
}

/** The training of the maps among some parameters, as a stage. */
export function runMaps(
  host: StageHost,
  name: string,
  objective: Distillation,
  params: Params,
  { validate, ...learning }: Omit<MapLearning, 'loss' | 'updates'>,
): Job<Trained> {
  const heldOutLoss = async (current: Params, list: readonly Batch[]) => {
    const losses = await objective.measure(current, list)
    return losses.reduce((sum, loss) => sum + loss, 0) / losses.length
  }
  return runStage(host, name, 'distill', (run) =>
    train(objective, params, {
      ...run,
      ...learning,
      trains: isMapPath,
      ...(validate && {
        validate: { every: validate.every, loss: (current: Params) => heldOutLoss(current, validate.batches) },
      }),
    }),
  )
}

/** {@link mapsLearned} from text. */
export function distilled(job: DistillJob, name: string, model: Model): Job<Stage> {
  const { distill, trainTokens, validationTokens } = job
  const { loss, updates } = distill
  return mapsLearned(job, name, model, {
    ...textLearning(distill, trainTokens, validationTokens),
    ...{ loss, ...(updates && { updates }) },
  })
}

/** How maps learn from text: its batches, and held-out ones. */
export function textLearning(recipe: Recipe, trainTokens: Int32Array, validationTokens: Int32Array) {
  return {
    ...stepOptions(recipe),
    batches: batches(trainTokens, recipe),
    validate: {
      every: recipe.validateEvery ?? recipe.steps,
      batches: [...heldOut(validationTokens, recipe)].slice(0, validationBatches),
    },
  }
}

/** All weights, or an adapter and the maps, learn to predict the next token. */
export async function* finetuned(job: StageJob, name: string, model: Model): Job<Stage> {
  if (job.finetune.steps === 0) return idle(model)
  const { length, batch } = job.finetune
  const validationTokens = job.validationTokens.subarray(0, validationBatches * batch * length + 1)
  const { device, trainTokens, lora, blocks } = job
  const learner = lora ? addLora(model, lora, random(job.seed).split('lora')) : model
  const { params, seconds, curve } = yield* runStage(job, name, 'finetune', (run) =>
    trainOnText(
      { device, model: learner, trainTokens, validationTokens, recipe: job.finetune, ...streamsOf(job) },
      { ...run, ...(lora && { trains: adapterTrains(learner.config) }) },
    ),
  )
  const done = { ...learner, params }
  return { model: lora && !blocks ? await mergeLora(device, done) : done, seconds, curve }
}

/** The perplexity of a model on the test text. */
export async function* scored(job: StageJob, name: string, model: Model): Job<Score> {
  const { device, blocks, clock, signal } = job
  const forward = createForward(device, model.config, blocks && { blocks })
  const release = device.keep?.(Object.values(model.params))
  const batches = [...heldOut(job.testTokens, job.finetune)]
  try {
    return yield* scoreJob(forward, model.params, batches, { phase: `score ${name}`, clock, ...(signal && { signal }) })
  } finally {
    release?.()
    await forward.dispose()
  }
}
