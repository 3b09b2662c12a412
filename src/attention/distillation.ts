/** Losses that make a linear attention imitate softmax attention, head by head; only its maps get gradients. */

import { add, concat, log, matmul, maximum, mean, mul, slice, sub, sum } from '../graph/ops.ts'
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

/** Blocks of causal queries, and the positions from which on they pay. */
const blockCount = 4
const leastPositions = 128

/** Teacher's output (b h l e), and the student's loss on each query (b h l 1). */
export interface Imitation {
  readonly y: Tensor
  readonly loss: Tensor
}

/** Softmax attention of some heads, and how far another attention of the same heads is from it. */
export function imitation(
  student: Attention,
  params: Tensors,
  heads: Heads,
  visibility: Visibility,
  kind: DistillLoss,
): Imitation {
  const parts = queryBlocks(heads, visibility).map(({ q, k, v, seen }) => {
    const weights = softmaxWeights(q, k, seen)
    return { y: matmul(weights, v), loss: () => softCrossEntropy(weights, student.scores(params, { q, k }, seen)) }
  })
  const y = joined(parts.map((part) => part.y))
  const crossEntropy = () => joined(parts.map((part) => part.loss()))
  const squaredError = () => {
    const isPart = heads.q.shape[2] !== heads.k.shape[2]
    const found = isPart
      ? matmul(student.weights(params, heads, visibility), heads.v)
      : student.attend(params, heads, visibility)
    const error = sub(found, y)
    return mul(mean(mul(error, error), [-1]), mseFactor)
  }
  const losses = { 'cross-entropy': crossEntropy, mse: squaredError, both: () => add(crossEntropy(), squaredError()) }
  return { y, loss: losses[kind]() }
}

/**
 * One of `count` equal parts of causal heads: its queries, and the keys that they see.
 * @throws RangeError when the positions are not a multiple of `count`.
 */
export function queryPart({ q, k, v }: Heads, part: number, count: number): Heads {
  const l = q.shape[2]!
  if (l % count !== 0) throw new RangeError(`distill: got ${l} positions, want a multiple of the ${count} updates`)
  const [start, end] = [(part * l) / count, ((part + 1) * l) / count]
  return { q: slice(q, 2, start, end), k: slice(k, 2, 0, end), v: slice(v, 2, 0, end) }
}

/** Causal queries in blocks, each with the keys up to its end: less than two thirds of the weights. */
function queryBlocks({ q, k, v }: Heads, { causal, keyMask }: Visibility): (Heads & { readonly seen: Visibility })[] {
  const l = q.shape[2]!
  const count = causal && l === k.shape[2] && l % blockCount === 0 && l >= leastPositions ? blockCount : 1
  return Array.from({ length: count }, (_, i) => {
    const [start, end] = [(i * l) / count, ((i + 1) * l) / count]
    const upTo = (x: Tensor) => (count === 1 ? x : slice(x, 2, 0, end))
    const seen = { causal, ...(keyMask && { keyMask: count === 1 ? keyMask : slice(keyMask, 1, 0, end) }) }
    return { q: count === 1 ? q : slice(q, 2, start, end), k: upTo(k), v: upTo(v), seen }
  })
}

/** Blocks of queries side by side. */
const joined = (parts: readonly Tensor[]): Tensor => (parts.length === 1 ? parts[0]! : concat(parts, 2))

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
