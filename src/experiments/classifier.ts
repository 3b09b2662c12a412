/** Classifiers: trained on labelled sequences, measured on held-out ones, and converted to another attention. */

import { isDistilled, planNamed } from '../attention/plan.ts'
import { Interrupted } from '../base/errors.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { linearize } from '../convert/linearize.ts'
import { mapsLearned } from '../convert/stages.ts'
import { largest } from '../evaluate/accuracy.ts'
import { createBackward } from '../execute/backward.ts'
import { createForward } from '../execute/forward.ts'
import type { Batch } from '../execute/objective.ts'
import { type MetricName, metrics } from '../metrics/metrics.ts'
import type { Model } from '../models/model.ts'
import { adamw } from '../train/optimizers.ts'
import type { ScheduleName } from '../train/schedules.ts'
import { runStage } from '../train/stage.ts'
import { type BatchStream, type CurvePoint, type TrainOptions, train } from '../train/train.ts'
import type { Setup } from './experiment.ts'

/** Sequences with one label each, in parts. */
export interface LabelledData {
  /** How many there are to learn from. */
  readonly examples: number
  /** Shuffled batches without end. */
  training(batch: number, seed: number): BatchStream
  /** What curves are measured on; never what is reported. */
  validation?(batch: number): Iterable<Batch> | AsyncIterable<Batch>
  /** What is reported. */
  test(batch: number): Iterable<Batch> | AsyncIterable<Batch>
}

/** How a stage learns. */
export interface LearningRecipe {
  readonly steps: number
  readonly batch: number
  readonly learningRate: number
  /** Default cosine. */
  readonly schedule?: ScheduleName
  /** Steps in which the rate rises. Default a tenth of all. */
  readonly warmup?: number
  /** Default 0.01. */
  readonly weightDecay?: number
  /** Share of activations that are dropped. Default 0. */
  readonly dropout?: number
}

/** A model as a stage left it. */
export interface Learned {
  readonly model: Model
  readonly curve: readonly CurvePoint[]
}

/** Measurements of held-out sequences while a stage runs. */
const validations = 8

/**
 * All weights learn the labels. A stage that was finished before is taken from the setup's store.
 * @param stage unique in the experiment
 */
export async function* learned(
  setup: Setup,
  stage: string,
  phase: 'train' | 'finetune',
  { config, params }: Model,
  data: LabelledData,
  recipe: LearningRecipe,
): Job<Learned> {
  const objective = createBackward(setup.device, config, { dropout: recipe.dropout ?? 0 })
  const forward = createForward(setup.device, config)
  try {
    const done = yield* runStage(setup, stage, phase, (run) =>
      train(objective, params, {
        ...run,
        ...optionsOf(recipe, setup.seed),
        batches: data.training(recipe.batch, setup.seed),
        ...(data.validation && {
          validate: {
            every: Math.max(1, Math.ceil(recipe.steps / validations)),
            loss: (current) => heldOutLoss(forward, current, config, data.validation!(recipe.batch)),
          },
        }),
      }),
    )
    return { model: { config, params: done.params }, curve: done.curve }
  } finally {
    await objective.dispose()
    await forward.dispose()
  }
}

/** The maps alone learn to imitate softmax attention; a model without maps to distil stays as it is. */
export async function* distilledOn(
  setup: Setup,
  stage: string,
  { config, params }: Model,
  data: LabelledData,
  recipe: LearningRecipe,
): Job<Learned> {
  if (!config.attention.some(isDistilled)) return { model: { config, params }, curve: [] }
  const { model, curve = [] } = yield* mapsLearned(
    setup,
    stage,
    { config, params },
    {
      ...optionsOf({ weightDecay: 0, ...recipe }, setup.seed),
      batches: data.training(recipe.batch, setup.seed + 1),
      loss: 'both',
    },
  )
  return { model, curve }
}

function optionsOf(
  { steps, learningRate, weightDecay = 0.01, schedule = 'cosine', warmup }: LearningRecipe,
  seed: number,
) {
  return {
    steps,
    learningRate,
    schedule,
    scheduleOptions: { warmup: Math.min(steps, warmup ?? Math.ceil(steps / 10)) },
    optimizer: adamw({ weightDecay }),
    seed,
  } as const satisfies Partial<TrainOptions>
}

/** What a model said of sequences, and what is right. */
export interface Predictions {
  /** Classes, or numbers of a regression. */
  readonly found: readonly number[]
  readonly wanted: readonly number[]
}

/** The predictions of a model on batches. @throws Interrupted when the setup's signal aborts. */
export async function* predicted(
  { device, clock, signal }: Setup,
  phase: string,
  { config, params }: Model,
  batches: Iterable<Batch> | AsyncIterable<Batch>,
): Job<Predictions> {
  const forward = createForward(device, config)
  const began = clock()
  const [found, wanted]: [number[], number[]] = [[], []]
  let step = 0
  try {
    for await (const batch of batches) {
      if (signal?.aborted) throw new Interrupted(`${phase}: stopped after batch ${step}`)
      const logits = await forward.classify(params, batch)
      found.push(...(config.task === 'regression' ? logits.data : largest(logits)))
      wanted.push(...batch.labels.data)
      step += 1
      yield { phase, step, steps: step, seconds: clock() - began }
    }
  } finally {
    await forward.dispose()
  }
  return { found, wanted }
}

/** A metric of predictions, times 100. @throws RangeError for a metric of something else than labels. */
export function percent(name: MetricName, { found, wanted }: Predictions): number {
  const metric = metrics[name]
  if (metric.needs === 'classes') return 100 * metric.measure({ predictions: found, labels: wanted }).value
  if (metric.needs === 'scores') return 100 * metric.measure({ scores: found, targets: wanted }).value
  throw new RangeError(`metric: got ${name}, want one of classes or of numbers`)
}

/** The three stages of a conversion: of the teacher, of the maps, and of all weights again. */
export interface ConversionRecipes {
  readonly distill: LearningRecipe
  readonly finetune: LearningRecipe
}

/** A teacher and what became of it. */
export interface Converted {
  /** With another attention and, where there are maps to distil, distilled; its other weights are the teacher's. */
  readonly swapped: Model
  /** The same after finetuning. */
  readonly finetuned: Model
  readonly curves: Readonly<Record<'distill' | 'finetune', readonly CurvePoint[]>>
}

/** Converts a classifier: another attention, distilled where it can be, then all weights finetuned. */
export async function* converted(
  setup: Setup,
  stage: string,
  teacher: Model,
  attention: string,
  data: LabelledData,
  { distill, finetune }: ConversionRecipes,
): Job<Converted> {
  const isSoftmax = planNamed(attention).kind === 'softmax'
  const student = isSoftmax ? teacher : linearize(teacher, attention, random(setup.seed).split(attention))
  const swapped = yield* distilledOn(setup, stage, student, data, distill)
  const own = yield* learned(setup, stage, 'finetune', swapped.model, data, finetune)
  return { swapped: swapped.model, finetuned: own.model, curves: { distill: swapped.curve, finetune: own.curve } }
}

/** Mean loss of labels, or of squared errors, on held-out sequences. */
async function heldOutLoss(
  forward: ReturnType<typeof createForward>,
  params: Model['params'],
  { task }: Model['config'],
  batches: Iterable<Batch> | AsyncIterable<Batch>,
): Promise<number> {
  let [total, count] = [0, 0]
  for await (const batch of batches) {
    const { data, shape } = await forward.classify(params, batch)
    const width = shape[1]!
    batch.labels.data.forEach((label, row) => {
      const own = data.subarray(row * width, (row + 1) * width)
      total += task === 'regression' ? (own[0]! - label) ** 2 : logSum(own) - own[label]!
      count += 1
    })
  }
  return total / count
}

function logSum(logits: ArrayLike<number>): number {
  const values = Array.from(logits)
  const most = Math.max(...values)
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0))
}
