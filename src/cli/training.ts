/** What commands that train share: a training as one stage of a job. */

import { UsageError } from '../base/errors.ts'
import { formatSeconds } from '../base/format.ts'
import type { Job } from '../base/progress.ts'
import type { RunOptions } from '../train/pretrain.ts'
import { runPlainStage } from '../train/stage.ts'
import type { Trained } from '../train/train.ts'
import type { Context } from './command.ts'
import { clock } from './inputs.ts'
import type { BegunJob, JobOptions } from './job.ts'

/** Options that all commands that train have. */
export interface TrainingOptions extends JobOptions {
  readonly minutes?: number
  readonly checkpointEvery?: number
  /** End with the weights of the lowest held-out loss. */
  readonly best: boolean
}

/** @throws UsageError for options that do not go together. */
export function checkTraining({ best, validation }: { readonly best: boolean; readonly validation?: string }): void {
  if (best && !validation) throw new UsageError('--best: there is no held-out loss without --validation; pass it too')
}

/**
 * Runs a training, whose states are kept in the job's folder.
 * @throws Interrupted saying how to go on.
 */
export function runTraining<T extends Pick<Trained, 'curve'>>(
  { signal }: Context,
  { run, stages }: BegunJob,
  { minutes, checkpointEvery = 200, best }: TrainingOptions,
  stage: string,
  start: (run: RunOptions) => Job<T>,
): Promise<T> {
  const host = { clock, signal, store: stages, checkpointEvery }
  const given = {
    ...(minutes !== undefined && { maxSeconds: minutes * 60 }),
    ...(best && { best: () => stages.best(stage) }),
  }
  return run(runPlainStage(host, { stage, phase: stage }, (part) => start({ ...part, ...given })))
}

/** What a training ended with, in a line. */
export function trainedText(done: {
  readonly out: string
  readonly steps: number
  readonly seconds: number
  readonly validationLoss?: number | undefined
  readonly best?: number
}): string {
  const { out, steps, seconds, validationLoss, best } = done
  const held = validationLoss === undefined ? '' : `, held-out loss ${validationLoss.toFixed(4)}`
  const chosen = best === undefined || best === steps ? '' : `; the weights are those after step ${best}, the best`
  return `${out}: ${steps} steps in ${formatSeconds(seconds)}${held}${chosen}`
}
