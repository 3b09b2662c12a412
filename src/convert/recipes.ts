/** A conversion from the few numbers that a person sets: what is left out was chosen on the validation text of the bundled model. */

import type { DistillLoss } from '../attention/distillation.ts'
import type { ConvertJob } from './convert.ts'
import { distillDefaults } from './stages.ts'

/** What a person sets of a conversion. */
export interface ConversionSettings {
  /** Tokens in a sequence. */
  readonly length: number
  /** Sequences in a batch of finetuning; distillation takes half as many. */
  readonly batch: number
  readonly seed: number
  /** Default 450. */
  readonly distillSteps?: number | undefined
  /** Updates of the maps in each step. Default 1. */
  readonly distillUpdates?: number | undefined
  /** Default 3e-2. */
  readonly distillLr?: number | undefined
  /** Default `both`. */
  readonly distillLoss?: DistillLoss | undefined
  /** Default 60. */
  readonly finetuneSteps?: number | undefined
  /** Default 1e-4. */
  readonly finetuneLr?: number | undefined
}

/** docs/results/tiny.md tells what was tried. */
const finetuneDefaults = { steps: 60, learningRate: 1e-4 }

/** The recipes of both stages, and what is measured. */
export function conversionRecipes(
  settings: ConversionSettings,
): Pick<ConvertJob, 'distill' | 'finetune' | 'fidelityBatches' | 'seed'> {
  const { length, batch, seed } = settings
  const distillSteps = settings.distillSteps ?? distillDefaults.steps
  const finetuneSteps = settings.finetuneSteps ?? finetuneDefaults.steps
  const recipe = { length, batch, seed, adamw: { weightDecay: 0 } }
  return {
    distill: {
      ...recipe,
      // Distillation needs more steps rather than larger ones.
      batch: Math.ceil(batch / 2),
      steps: distillSteps,
      learningRate: settings.distillLr ?? distillDefaults.learningRate,
      loss: settings.distillLoss ?? distillDefaults.loss,
      validateEvery: Math.ceil(distillSteps / 5),
      ...(settings.distillUpdates && { updates: settings.distillUpdates }),
    },
    finetune: {
      ...recipe,
      steps: finetuneSteps,
      learningRate: settings.finetuneLr ?? finetuneDefaults.learningRate,
      scheduleOptions: { warmup: Math.ceil(finetuneSteps / 10) },
      validateEvery: Math.ceil(finetuneSteps / 5),
    },
    fidelityBatches: 4,
    seed,
  }
}

/** What makes two conversions the same job, as text: a stage is resumed only by the job that it was stored by. */
export function conversionFingerprint(
  job: Pick<ConvertJob, 'teacher' | 'map' | 'distill' | 'finetune' | 'lora' | 'trainTokens' | 'seed'>,
): string {
  const { teacher, map, distill, finetune, lora, trainTokens, seed } = job
  const { json: _, ...config } = teacher.config
  return JSON.stringify({ config, map, distill, finetune, lora, tokens: trainTokens.length, seed })
}
