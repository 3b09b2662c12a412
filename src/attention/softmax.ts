/** Softmax attention: the teacher. */

import { add, concat, constantLike, matmul, mul, reshape, slice, softmax, sub, transpose } from '../graph/ops.ts'
import { dims } from '../graph/shapes.ts'
import type { Tensor } from '../graph/tensor.ts'

/** Which keys a query sees. */
export interface Visibility {
  /** Query n sees keys 0 … n only. */
  readonly causal: boolean
  /** (b s), 1 for real tokens and 0 for padding. */
  readonly keyMask?: Tensor
}

/** Added to a hidden score: far below every real one, and finite so that a row without any key gives no NaN. */
export const hidden = -1e30

/** q·k / √d, hidden scores very low: (b h l d), (b h s d) -> (b h l s). */
export function softmaxScores(q: Tensor, k: Tensor, { causal, keyMask }: Visibility): Tensor {
  const { b, l, s, d } = dims('softmaxScores', { q, k }, { q: 'b h l d', k: 'b h s d' })
  let scores = mul(matmul(q, transpose(k)), 1 / Math.sqrt(d!))
  if (causal) scores = add(scores, causalBias(q, l!, s!))
  if (keyMask) scores = add(scores, reshape(mul(sub(1, keyMask), hidden), [b!, 1, 1, s!]))
  return scores
}

/** Attention weights: (b h l d), (b h s d) -> (b h l s), rows summing to 1. */
export function softmaxWeights(q: Tensor, k: Tensor, visibility: Visibility): Tensor {
  return softmax(softmaxScores(q, k, visibility))
}

/**
 * Softmax attention: (b h l d), (b h s d), (b h s e) -> (b h l e).
 * Causal attention runs in blocks of queries, each against the keys up to its end: less than two thirds of the work.
 */
export function softmaxAttention(q: Tensor, k: Tensor, v: Tensor, visibility: Visibility): Tensor {
  const { l, s } = dims('softmaxAttention', { q, k, v }, { q: 'b h l d', k: 'b h s d', v: 'b h s e' })
  const blocks = visibility.causal && !visibility.keyMask && l === s && l! % 4 === 0 && l! >= 128 ? 4 : 1
  if (blocks === 1) return matmul(softmaxWeights(q, k, visibility), v)
  const size = l! / blocks
  const parts = Array.from({ length: blocks }, (_, i) => {
    const end = (i + 1) * size
    const weights = softmaxWeights(slice(q, 2, i * size, end), slice(k, 2, 0, end), visibility)
    return matmul(weights, slice(v, 2, 0, end))
  })
  return concat(parts, 2)
}

/** 0 where query n may see key i, else very low: (l s). The queries are the last l of s positions. */
function causalBias(like: Tensor, l: number, s: number): Tensor {
  return constantLike(like, [l, s], (index) => (index % s > Math.floor(index / s) + s - l ? hidden : 0))
}

/** 1 where query n may see key i, else 0: (l s), for scores that are masked by a product. */
export function causalMask(like: Tensor, l: number, s: number): Tensor {
  return constantLike(like, [l, s], (index) => (index % s > Math.floor(index / s) + s - l ? 0 : 1))
}
