/** Top-k attention: softmax over the k keys nearest to a query, found exactly (Unlimiformer, arXiv 2305.01625). */

import { add, greater, kthLargest, matmul, mul, softmax, stopGradient } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Attention } from '../attention.ts'
import { hidden, softmaxScores } from '../softmax.ts'
import { cacheMemory } from './softmax.ts'

/**
 * Softmax over the k largest scores of each row; keys with a score equal to the k-th are all kept. With k ≥ s it is
 * softmax attention.
 */
export function topKWeights(scores: Tensor, k: number): Tensor {
  const s = scores.shape.at(-1)!
  if (k >= s) return softmax(scores)
  const least = stopGradient(kthLargest(scores, k))
  return softmax(add(scores, mul(greater(least, scores), hidden)))
}

/** @param k keys that a query attends to. */
export function topKKind(k: number): Attention {
  const weights: Attention['weights'] = (_params, heads, visibility) =>
    topKWeights(softmaxScores(heads.q, heads.k, visibility), k)
  return {
    params: () => ({}),
    scores: weights,
    weights,
    attend: (params, heads, visibility) => matmul(weights(params, heads, visibility), heads.v),
    memory: (sizes) => cacheMemory(sizes, (scores) => topKWeights(scores, k)),
  }
}
