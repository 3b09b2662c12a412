/** Training a model on text from start to end: batches, held-out loss, checkpoints. */

import type { Params } from '../base/array.ts'
import type { Job } from '../base/progress.ts'
import { createBackward, type Streams, streamsOf } from '../execute/backward.ts'
import { createForward } from '../execute/forward.ts'
import { heldOutLoss } from '../execute/heldOut.ts'
import type { Batch } from '../execute/objective.ts'
import { batches, heldOut } from '../io/batches.ts'
import type { Model } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import { type AdamWOptions, adamw } from './optimizers.ts'
import type { ScheduleName, ScheduleOptions } from './schedules.ts'
import { type BatchStream, type Trained, type TrainOptions, train } from './train.ts'

/** How a model learns from text; what is left out has the default that is given. */
export interface Recipe {
  readonly steps: number
  /** Tokens in a sequence. */
  readonly length: number
  /** Sequences in a batch. */
  readonly batch: number
  /** Batches in a step. Default 1. */
  readonly accumulate?: number
  readonly learningRate: number
  /** Default cosine. */
  readonly schedule?: ScheduleName
  readonly scheduleOptions?: ScheduleOptions
  readonly adamw?: AdamWOptions
  /** The largest norm of the gradient. Default 1. */
  readonly clip?: number
  /** Share of activations that are dropped. Default 0. */
  readonly dropout?: number
  readonly seed: number
  /** Steps between held-out losses, on the first {@link validatedTokens} held-out tokens. Default: at the end only. */
  readonly validateEvery?: number
}

/** What a training job works on. */
export interface TextTask extends Pick<BatchTask, 'device' | 'model' | 'recipe' | keyof Streams> {
  readonly trainTokens: Int32Array
  /** Held-out tokens; without them nothing is validated. */
  readonly validationTokens?: Int32Array
}

/** Held-out tokens that a curve is validated on: enough for the second decimal, few enough to be quick. */
export const validatedTokens = 50_000

/** How the job is run, as in {@link TrainOptions}. */
export type RunOptions = Pick<
  TrainOptions,
  'phase' | 'clock' | 'signal' | 'checkpoint' | 'resume' | 'maxSeconds' | 'best' | 'trains' | 'consume'
>

/** What a model learns from batches of any kind that its task has a loss for. */
export interface BatchTask extends Streams {
  readonly device: Device
  readonly model: Model
  readonly batches: BatchStream
  /** What is validated on; without it nothing is. */
  readonly heldOut?: readonly Batch[]
  readonly recipe: Recipe
}

/**
 * Trains a model on batches, with a recipe.
 * @throws what {@link train} throws.
 */
export async function* trainOnBatches({ device, model, recipe, ...data }: BatchTask, run: RunOptions): Job<Trained> {
  const { config, params } = model
  const { blocks } = data
  const objective = createBackward(device, config, { dropout: recipe.dropout ?? 0, ...streamsOf(data) })
  const forward = createForward(device, config, blocks && { blocks })
  const loss = (current: Params) => heldOutLoss(forward, config, current, data.heldOut!)
  try {
    return yield* train(objective, params, {
      ...run,
      ...stepOptions(recipe),
      batches: data.batches,
      ...(data.heldOut && { validate: { every: recipe.validateEvery ?? recipe.steps, loss } }),
    })
  } finally {
    await objective.dispose()
    await forward.dispose()
  }
}

/**
 * Trains a model to predict the next token.
 * @throws RangeError when there is too little text; what {@link train} throws.
 */
export function trainOnText({ trainTokens, validationTokens, ...task }: TextTask, run: RunOptions): Job<Trained> {
  const { recipe } = task
  const held = validationTokens && [...heldOut(validationTokens.subarray(0, validatedTokens), recipe)]
  return trainOnBatches({ ...task, batches: batches(trainTokens, recipe), ...(held && { heldOut: held }) }, run)
}

/** The options of {@link train} that a recipe sets. */
export function stepOptions(recipe: Recipe) {
  const { steps, learningRate, accumulate = 1, clip = 1, seed, schedule = 'cosine', scheduleOptions = {} } = recipe
  return {
    steps,
    learningRate,
    accumulate,
    clip,
    seed,
    schedule,
    scheduleOptions,
    optimizer: adamw(recipe.adamw),
  }
}
