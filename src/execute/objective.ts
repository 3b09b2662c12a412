/** What a training loop minimises: something that adds a batch's gradients up, be it a task or a distillation. */

import type { NDArray, Params } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import type { ModelInputs } from '../models/model.ts'

/**
 * Sequences to learn from. Labels are, by the model's task: the right token of each position (b l), int32; the class of
 * each sequence (b), int32; or the target of each sequence (b), float32. Integers below 0 do not count.
 */
export interface Batch extends ModelInputs {
  readonly labels: NDArray
}

/** How many of a batch's labels count. */
export function countLabels({ labels }: Pick<Batch, 'labels'>): number {
  if (labels.dtype !== 'int32') return labels.data.length
  let count = 0
  for (const label of labels.data) if (label >= 0) count += 1
  return count
}

/** How a batch enters {@link Objective.accumulate}. */
export interface Accumulation {
  /** What each loss that counts is multiplied by, e.g. one over all of the step. */
  readonly tokenWeight: number
  /** The gradients so far do not count: they are written over. Saves an addition. Default false. */
  readonly fresh?: boolean
  /** The stream of dropout masks and of the order of updates; needed where there are such. */
  readonly rng?: Random
  /**
   * Lets parameters learn from their gradients at once, which are then done with; for an objective with several
   * {@link Objective.updates}. @param part which of them, from 0
   */
  readonly update?: (paths: readonly string[], part: number) => void
}

/** A loss with its gradients. */
export interface Objective {
  /** How many losses a batch has, by which a step divides. Default: {@link countLabels}. */
  count?(batch: Batch): number
  /** How often each parameter is updated in a batch, by the objective itself. Default 1: once, by the training step. */
  readonly updates?: number
  /** Groups of parameters whose gradients are clipped apart, by a name for each. Default: one group. */
  readonly groups?: (path: string) => string | number
  /**
   * Adds a batch's gradients to `grads`, whose paths say which parameters are trained. Returns Σ weight · loss.
   * @throws Error when the loss is not finite.
   */
  accumulate(params: Params, grads: Params, batch: Batch, how: Accumulation): Promise<number>
  dispose(): Promise<void>
}
