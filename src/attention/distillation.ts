/** Losses that make a linear attention imitate softmax attention, head by head; only its maps get gradients. */

import { add, log, matmul, maximum, mean, mul, sub, sum } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { Attention } from './attention.ts'
import type { Heads } from './heads.ts'
import { softmaxWeights, type Visibility } from './softmax.ts'

/** What distillation matches: attention weights, attention outputs, or both. */
export type DistillLoss = 'cross-entropy' | 'mse' | 'both'

export const distillLosses: readonly DistillLoss[] = ['cross-entropy', 'mse', 'both']

/** Weights below this count as this in logarithms, so that a weight of 0 gives a large loss and no infinity. */
const smallest = 1e-30

/** Factor of the squared error (LoLCATs, arXiv 2410.10254). */
const mseFactor = 1000

/** Teacher's output and weights, and the student's loss on each query: (b h l 1). */
export interface Imitation {
  readonly y: Tensor
  readonly weights: Tensor
  readonly loss: Tensor
}

/** Softmax attention of some heads, and how far another attention of the same heads is from it. */
export function imitation(
  student: Attention,
  params: Tensors,
  { q, k, v }: Heads,
  visibility: Visibility,
  kind: DistillLoss,
): Imitation {
  const weights = softmaxWeights(q, k, visibility)
  const y = matmul(weights, v)
  const crossEntropy = () => softCrossEntropy(weights, student.scores(params, { q, k }, visibility))
  const squaredError = () => {
    const error = sub(student.attend(params, { q, k, v }, visibility), y)
    return mul(mean(mul(error, error), [-1]), mseFactor)
  }
  const losses = { 'cross-entropy': crossEntropy, mse: squaredError, both: () => add(crossEntropy(), squaredError()) }
  return { y, weights, loss: losses[kind]() }
}

/** −Σ_i a_i log(s_i / Σ_j s_j) per query from weights a and scores s that are not normalised: (b h l s) -> (b h l 1). */
export function softCrossEntropy(weights: Tensor, scores: Tensor): Tensor {
  const total = log(maximum(sum(scores, [-1]), smallest))
  return sub(total, sum(mul(weights, log(maximum(scores, smallest))), [-1]))
}

/** −Σ a log a per query, in nats: (b h l s) -> (b h l 1). */
export function entropy(weights: Tensor): Tensor {
  return mul(sum(mul(weights, log(maximum(weights, smallest))), [-1]), -1)
}

/** KL(a ‖ â) per query, in nats, of normalised weights: (b h l s) -> (b h l 1). */
export function divergence(weights: Tensor, student: Tensor): Tensor {
  return sub(softCrossEntropy(weights, student), entropy(weights))
}
