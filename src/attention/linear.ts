/** Linear attention in its equal forms: parallel (all weights), chunked (training, prefill) and recurrent (decoding). */

import {
  add,
  concat,
  cumsum,
  div,
  exp,
  filled,
  matmul,
  max,
  maximum,
  mul,
  pad,
  reshape,
  slice,
  split,
  stopGradient,
  sub,
  sum,
  transpose,
} from '../graph/ops.ts'
import { dims } from '../graph/shapes.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { FeatureMap } from './featureMaps.ts'
import { causalMask, type Visibility } from './softmax.ts'

/** Parameters of the query map and of the key map. */
export interface MapParams {
  readonly q: Tensors
  readonly k: Tensors
}

/**
 * All that linear attention keeps of the past: Σ φ(k) [v, 1] as (b h f e+1), features scaled by e^(−shift),
 * and that shift (b h 1 1), which only maps with a magnitude have.
 */
export interface LinearState {
  readonly sums: Tensor
  readonly shift?: Tensor
}

/** Denominators are not allowed below this: a guard against 0 / 0 that changes no result. */
const floor = 1e-30

/** φ of the queries. Each query's own scale cancels in the normalisation, so the largest feature is made 1. */
export function queryFeatures(map: FeatureMap, params: Tensors, q: Tensor): Tensor {
  const u = map.project(params, q)
  return map.magnitude ? map.activate(u, stopGradient(map.magnitude(u))) : map.activate(u)
}

/** φ of the keys with one shift per head, and padding masked before the map (the shift must not see it) and after it. */
export function keyFeatures(
  map: FeatureMap,
  params: Tensors,
  k: Tensor,
  options: { keyMask?: Tensor; shift?: Tensor } = {},
): { phi: Tensor; shift?: Tensor } {
  const u = map.project(params, masked(k, options.keyMask))
  if (!map.magnitude) return { phi: masked(map.activate(u), options.keyMask) }
  const largest = stopGradient(max(map.magnitude(u), [2]))
  const shift = options.shift ? maximum(options.shift, largest) : largest
  return { phi: masked(map.activate(u, shift), options.keyMask), shift }
}

/** Weights φ(q)·φ(k), masked and normalised over the keys: (b h l d), (b h s d) -> (b h l s). */
export function linearWeights(
  map: FeatureMap,
  params: MapParams,
  q: Tensor,
  k: Tensor,
  visibility: Visibility,
): Tensor {
  const scores = linearScores(map, params, q, k, visibility)
  return div(scores, maximum(sum(scores, [-1]), floor))
}

/** Weights before their normalisation: (b h l d), (b h s d) -> (b h l s). */
export function linearScores(map: FeatureMap, params: MapParams, q: Tensor, k: Tensor, visibility: Visibility): Tensor {
  const { l, s } = dims('linearScores', { q, k }, { q: 'b h l d', k: 'b h s d' })
  const { phi } = keyFeatures(map, params.k, k, visibility)
  const scores = matmul(queryFeatures(map, params.q, q), transpose(phi))
  return visibility.causal ? mul(scores, causalMask(q, l!, s!)) : scores
}

/** Options of {@link linearAttention}. */
export interface LinearOptions extends Visibility {
  /** Positions per chunk of the causal form; default 64, and 128 from 4096 positions on. */
  readonly chunk?: number
}

/**
 * Linear attention: (b h l d), (b h s d), (b h s e) -> (b h l e); chunked when causal, one sum when not.
 * @throws RangeError when causal with other than as many keys as queries; {@link linearAttentionFrom} goes on from a past.
 */
export function linearAttention(
  map: FeatureMap,
  params: MapParams,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: LinearOptions,
): Tensor {
  const s = options.causal ? 'l' : 's'
  dims('linearAttention', { q, k, v }, { q: 'b h l d', k: `b h ${s} d`, v: `b h ${s} e` })
  const phiQ = queryFeatures(map, params.q, q)
  const { phi: phiK } = keyFeatures(map, params.k, k, options)
  if (!options.causal) return normalised(matmul(phiQ, matmul(transpose(phiK), withOnes(v))))
  return normalised(chunkedSums(phiQ, phiK, withOnes(v), options.chunk).out)
}

/**
 * Causal linear attention that goes on from a state; one position at a time it is the recurrent form, more are a prefill.
 * (b h l d), (b h l d), (b h l e) -> (b h l e) and the state after the last position.
 */
export function linearAttentionFrom(
  map: FeatureMap,
  params: MapParams,
  state: LinearState,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  chunk?: number,
): { y: Tensor; state: LinearState } {
  const phiQ = queryFeatures(map, params.q, q)
  const { phi: phiK, shift } = keyFeatures(map, params.k, k, state.shift ? { shift: state.shift } : {})
  const past = shift && state.shift ? mul(state.sums, exp(sub(state.shift, shift))) : state.sums
  const { out, total } = advance(phiQ, phiK, withOnes(v), past, chunk)
  return { y: normalised(out), state: { sums: total, ...(shift && { shift }) } }
}

function advance(phiQ: Tensor, phiK: Tensor, v1: Tensor, past: Tensor, chunk?: number) {
  if (phiQ.shape[2] === 1) {
    const total = add(past, matmul(transpose(phiK), v1))
    return { out: matmul(phiQ, total), total }
  }
  const { out, total } = chunkedSums(phiQ, phiK, v1, chunk)
  return { out: add(out, matmul(phiQ, past)), total: add(total, past) }
}

/** Σ_{i ≤ n} φq(n)·φk(i) v1(i) for every n, and Σ over all i of φk(i)ᵀ v1(i). */
function chunkedSums(phiQ: Tensor, phiK: Tensor, v1: Tensor, chunk?: number): { out: Tensor; total: Tensor } {
  const { b, h, l, f } = dims('chunkedSums', { phiQ }, { phiQ: 'b h l f' })
  const e = v1.shape[3]!
  const size = Math.min(chunk ?? (l! >= 4096 ? 128 : 64), l!)
  const count = Math.ceil(l! / size)
  const cut = (x: Tensor, width: number) => reshape(pad(x, 2, 0, count * size - l!), [b!, h!, count, size, width])
  const [q, k, v] = [cut(phiQ, f!), cut(phiK, f!), cut(v1, e)]
  const inside = matmul(mul(matmul(q, transpose(k)), causalMask(q, size, size)), v)
  const sums = matmul(transpose(k), v)
  if (count === 1) {
    return { out: slice(reshape(inside, [b!, h!, size, e]), 2, 0, l!), total: reshape(sums, [b!, h!, f!, e]) }
  }
  const before = cumsum(sums, 2, { exclusive: true })
  const out = reshape(add(inside, matmul(q, before)), [b!, h!, count * size, e])
  const last = (x: Tensor) => slice(x, 2, count - 1, count)
  return { out: slice(out, 2, 0, l!), total: reshape(add(last(before), last(sums)), [b!, h!, f!, e]) }
}

/** A column of ones beside v, so that the denominator is one more column of every product. */
function withOnes(v: Tensor): Tensor {
  return concat([v, filled(v, [...v.shape.slice(0, 3), 1], 1)], -1)
}

function normalised(out: Tensor): Tensor {
  const [y, denominator] = split(out, [out.shape[3]! - 1, 1], -1) as [Tensor, Tensor]
  return div(y, maximum(denominator, floor))
}

/** Zeros for padding, in φ(k) itself so that it enters neither the sums nor the denominator: (b h s f) -> (b h s f). */
function masked(x: Tensor, keyMask?: Tensor): Tensor {
  if (!keyMask) return x
  const { b, s } = dims('keyMask', { keyMask }, { keyMask: 'b s' })
  return mul(x, reshape(keyMask, [b!, 1, s!, 1]))
}
