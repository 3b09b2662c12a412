/** What a training loop minimises: something that adds a batch's gradients up, be it a task or a distillation. */

import type { NDArray, Params } from '../base/array.ts'
import type { Random } from '../base/random.ts'

/** Tokens to learn from: ids and next-token labels (b l); labels below 0 do not count. */
export interface Batch {
  readonly ids: NDArray
  readonly labels: NDArray
}

/** How a batch enters {@link Objective.accumulate}. */
export interface Accumulation {
  /** What each counted token's loss is multiplied by, e.g. one over all tokens of the step. */
  readonly tokenWeight: number
  /** The gradients so far do not count: they are written over. Saves an addition. Default false. */
  readonly fresh?: boolean
  /** The stream of dropout masks; needed when dropout is on. */
  readonly rng?: Random
}

/** A loss with its gradients. */
export interface Objective {
  /**
   * Adds a batch's gradients to `grads`, whose paths say which parameters are trained. Returns Σ weight · loss.
   * @throws Error when the loss is not finite.
   */
  accumulate(params: Params, grads: Params, batch: Batch, how: Accumulation): Promise<number>
  dispose(): Promise<void>
}
