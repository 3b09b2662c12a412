/** Models of GPT-2 small's shape with random weights, and the cases that benches run on them in their own processes. */

import { isMapPath } from '../src/attention/mapParams.ts'
import type { AttentionPlan } from '../src/attention/plan.ts'
import { ints } from '../src/base/array.ts'
import { type Random, random } from '../src/base/random.ts'
import { createDistillation } from '../src/convert/distill.ts'
import { createBackward } from '../src/execute/backward.ts'
import { createForward } from '../src/execute/forward.ts'
import type { Batch, Objective } from '../src/execute/objective.ts'
import { newModel } from '../src/models/families.ts'
import { gpt2 } from '../src/models/gpt2.ts'
import type { Model, ModelConfig } from '../src/models/model.ts'
import { openDevice } from '../src/node/device.ts'
import { adapterTrains, addLora, type LoraOptions } from '../src/train/lora.ts'
import { adamw } from '../src/train/optimizers.ts'
import { type BatchStream, type TrainOptions, train } from '../src/train/train.ts'
import { type Cases, type Measurement, seconds } from './measure.ts'

/** What a case is told. */
export interface StepOptions {
  readonly quick: boolean
  readonly plan: AttentionPlan
  /** Values kept for the backward pass; default the family's. */
  readonly saved?: readonly string[]
  /** The adapter that learns; default all weights do. */
  readonly lora?: LoraOptions
}

/** The plans that are compared, by the name they have in results. */
export const plans = {
  'hedgehog-exp': { kind: 'linear', map: 'hedgehog-exp' },
  'hedgehog-softmax': { kind: 'linear', map: 'hedgehog-softmax' },
  softmax: { kind: 'softmax' },
} as const satisfies Record<string, AttentionPlan>

/** GPT-2 small with one attention in all layers, or the smallest that has all of its parts. */
export function configOf({ quick, plan }: Pick<StepOptions, 'quick' | 'plan'>): ModelConfig {
  const small = { layers: 12, heads: 12, width: 768, vocab: 50257, maxLength: 1024 }
  const least = { layers: 2, heads: 2, width: 32, vocab: 997, maxLength: 128 }
  return gpt2.configOf({ ...(quick ? least : small), attention: plan })
}

/** Each is prepared once and measures the seconds of one pass over one sequence of the model's length. */
export const cases = {
  /** Forward, backward, loss, clipping and AdamW, as training does it. */
  async step(options: StepOptions) {
    const model = modelOf(options)
    const { config, params } = options.lora ? addLora(model, options.lora, random(3)) : model
    const objective = createBackward(await openDevice(), config, options.saved ? { saved: options.saved } : {})
    const trains = options.lora ? adapterTrains(config) : () => true
    return steps(config, train(objective, params, { ...trainOptions(config), trains, consume: true }))
  },
  /** One step of attention distillation: only the maps learn. */
  async distillation(options: StepOptions) {
    const { config, params } = modelOf(options)
    const objective: Objective = createDistillation(await openDevice(), config)
    return steps(config, train(objective, params, { ...trainOptions(config), trains: isMapPath }))
  },
  /** The loss of each token, nothing kept for gradients. */
  async forward(options: StepOptions) {
    const { config, params } = modelOf(options)
    const forward = createForward(await openDevice(), config)
    const batch = batchOf(config, random(2))
    return () => seconds(async () => forward.losses(params, await forward.hidden(params, batch), batch.labels))
  },
} satisfies Cases

function modelOf(options: StepOptions): Model {
  return newModel(configOf(options), random(1))
}

function trainOptions(config: ModelConfig): TrainOptions {
  return {
    phase: 'bench',
    steps: Number.MAX_SAFE_INTEGER,
    batches: randomBatches(config, random(2)),
    optimizer: adamw({ weightDecay: 0.1, beta2: 0.95 }),
    learningRate: 6e-4,
    clock: () => performance.now() / 1000,
  }
}

function steps(config: ModelConfig, job: ReturnType<typeof train>): Measurement {
  return () =>
    seconds(async () => {
      const { value } = await job.next()
      const loss = value && 'metrics' in value ? value.metrics?.loss : undefined
      if (!loss) throw new Error(`a step of ${config.family} gave no loss`)
    })
}

function randomBatches(config: ModelConfig, rng: Random): BatchStream {
  return { next: () => batchOf(config, rng), state: () => undefined, restore: () => {} }
}

function batchOf({ vocab, maxLength }: ModelConfig, rng: Random): Batch {
  const draw = () => Int32Array.from({ length: maxLength }, () => rng.integer(vocab))
  return { ids: ints([1, maxLength], draw()), labels: ints([1, maxLength], draw()) }
}
