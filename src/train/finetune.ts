/** Finetuning a model on batches of its task: all of its weights, or an adapter that is merged at the end. */

import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import type { Model } from '../models/model.ts'
import { countParams } from '../nn/params.ts'
import { adapterTrains, addLora, type LoraOptions } from './lora.ts'
import { mergeLora } from './mergeLora.ts'
import { type BatchTask, type RunOptions, trainOnBatches } from './pretrain.ts'
import type { Trained } from './train.ts'

/** What is finetuned, and how. */
export interface FinetuneTask extends BatchTask {
  /** Learn an adapter of this kind. Default: all weights, or the adapter that the model has. */
  readonly lora?: LoraOptions
  /** Leave the adapter beside the weights. Default false: merge it. */
  readonly keepAdapter?: boolean
}

/** What finetuning ends with. */
export interface Finetuned extends Omit<Trained, 'params'> {
  readonly model: Model
  /** How many numbers learned. */
  readonly learned: number
}

/**
 * Finetunes a model.
 * @throws what {@link addLora}, {@link mergeLora} and training throw.
 */
export async function* finetune(task: FinetuneTask, run: Omit<RunOptions, 'trains'>): Job<Finetuned> {
  const { device, keepAdapter = false } = task
  const learner = learnerOf(task)
  const { config } = learner
  const trains = config.adapter ? adapterTrains(config) : () => true
  const { params, ...trained } = yield* trainOnBatches({ ...task, model: learner }, { ...run, trains })
  const own = Object.entries(params).filter(([path]) => trains(path))
  const done = { config, params }
  return {
    ...trained,
    model: config.adapter && !keepAdapter ? await mergeLora(device, done) : done,
    learned: countParams(Object.fromEntries(own)),
  }
}

/** The model with the adapter that learns, which begins the same whenever a job is taken up again. */
function learnerOf({ model, lora, recipe }: Pick<FinetuneTask, 'model' | 'lora' | 'recipe'>): Model {
  return lora ? addLora(model, lora, random(recipe.seed).split('lora')) : model
}
