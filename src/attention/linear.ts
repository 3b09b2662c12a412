/** Linear attention in its equal forms: parallel (all weights), chunked (training, prefill) and recurrent (decoding). */

import {
  add,
  concat,
  cumsum,
  div,
  exp,
  filled,
  linearRecurrence,
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
  /** The position of what is read next, (b 1 1 1); only for maps with positions. */
  readonly start?: Tensor
}

/** Which rows of a text some queries or keys are. */
export interface FeatureOptions {
  /** Position of the first row, (b 1 1 1), or of every row, (b 1 l 1); 0 where not given. */
  readonly start?: Tensor
}

/** Denominators are not allowed below this: a guard against 0 / 0 that changes no result. */
const floor = 1e-30

/** Features times e^(−shift); maps without a magnitude have no shift. */
export interface Features {
  readonly phi: Tensor
  /** What they are the features of: the projected queries or keys. */
  readonly u: Tensor
  readonly shift?: Tensor
}

/** φ of the queries. Each query's own scale cancels in the normalisation, so the largest feature is made 1. */
export function queryFeatures(map: FeatureMap, params: Tensors, q: Tensor, { start }: FeatureOptions = {}): Features {
  const u = map.project(params, q, start)
  if (!map.magnitude) return { phi: map.activate(u), u }
  const shift = stopGradient(map.magnitude(u))
  return { phi: map.activate(u, shift), shift, u }
}

/** φ of the keys with one shift per head, and padding masked before the map (the shift must not see it) and after it. */
export function keyFeatures(
  map: FeatureMap,
  params: Tensors,
  k: Tensor,
  options: FeatureOptions & { keyMask?: Tensor; shift?: Tensor } = {},
): Features {
  const u = map.project(params, masked(k, options.keyMask), options.start)
  if (!map.magnitude) return { phi: masked(map.activate(u), options.keyMask), u }
  const largest = stopGradient(max(map.magnitude(u), [2]))
  const shift = options.shift ? maximum(options.shift, largest) : largest
  return { phi: masked(map.activate(u, shift), options.keyMask), shift, u }
}

/** φ(q)·φ(k) of all pairs, on the scale of their shifts; padding is not masked where the map has a kernel. */
export function featureProducts(map: FeatureMap, q: Features, k: Features): Tensor {
  return map.kernel ? map.kernel(q.u, k.u) : matmul(q.phi, transpose(k.phi))
}

/** Weights φ(q)·φ(k), masked and normalised over the keys: (b h l d), (b h s d) -> (b h l s). */
export function linearWeights(
  map: FeatureMap,
  params: MapParams,
  q: Tensor,
  k: Tensor,
  visibility: Visibility,
): Tensor {
  return normalisedRows(linearScores(map, params, q, k, visibility))
}

/** Scores to weights: rows that sum to 1, or to 0 where all scores are 0. */
export function normalisedRows(scores: Tensor): Tensor {
  return div(scores, maximum(sum(scores, [-1]), floor))
}

/** Weights before their normalisation: (b h l d), (b h s d) -> (b h l s). */
export function linearScores(map: FeatureMap, params: MapParams, q: Tensor, k: Tensor, visibility: Visibility): Tensor {
  const { l, s } = dims('linearScores', { q, k }, { q: 'b h l d', k: 'b h s d' })
  const { b, s: keys } = dims('linearScores', { k }, { k: 'b h s d' })
  const ofKeys = keyFeatures(map, params.k, k, visibility)
  // Fewer queries than keys are the last of them.
  const start = map.positions && s! > l! ? { start: filled(q, [1, 1, 1, 1], s! - l!) } : {}
  const products = featureProducts(map, queryFeatures(map, params.q, q, start), ofKeys)
  const { causal, keyMask } = visibility
  const scores = keyMask && map.kernel ? mul(products, reshape(keyMask, [b!, 1, 1, keys!])) : products
  return causal ? mul(scores, causalMask(q, l!, s!)) : scores
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
  const ofQ = queryFeatures(map, params.q, q)
  const ofK = keyFeatures(map, params.k, k, options)
  if (!options.causal) return normalised(matmul(ofQ.phi, matmul(transpose(ofK.phi), withOnes(v))))
  // Padding without a value and without a one enters neither sum, whatever its features are.
  return normalised(chunkedSums(map, ofQ, ofK, masked(withOnes(v), options.keyMask), options.chunk).out)
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
  const start = state.start ? { start: state.start } : {}
  const ofQ = queryFeatures(map, params.q, q, start)
  const before = state.shift ? { shift: state.shift } : {}
  const ofK = keyFeatures(map, params.k, k, { ...start, ...before })
  const { shift } = ofK
  const decay = shift && state.shift && sub(state.shift, shift)
  const { out, total } =
    q.shape[2] === 1
      ? singleStep(ofQ, ofK, withOnes(v), state, decay)
      : advance(map, ofQ, ofK, withOnes(v), rescaled(state, shift), chunk)
  return { y: normalised(out), state: { sums: total, ...(shift && { shift }) } }
}

/** The sums of a state under a new shift. */
export function rescaled({ sums, shift: old }: LinearState, shift?: Tensor): Tensor {
  return shift && old ? mul(sums, exp(sub(old, shift))) : sums
}

function singleStep(q: Features, k: Features, v: Tensor, { sums }: LinearState, decay?: Tensor) {
  const [b, h, , e] = v.shape as [number, number, number, number]
  if (v.dtype !== 'float32') {
    const total = add(decay ? mul(sums, exp(decay)) : sums, matmul(transpose(k.phi), v))
    return { out: matmul(q.phi, total), total }
  }
  // One operator, which reads and writes the sums once.
  const flat = (x: Tensor) => reshape(x, [b, 1, -1])
  const { out, total } = linearRecurrence(flat(q.phi), flat(k.phi), flat(v), sums, decay && flat(decay))
  return { out: reshape(out, [b, h, 1, e]), total }
}

function advance(map: FeatureMap, q: Features, k: Features, v1: Tensor, past: Tensor, chunk?: number) {
  const { out, total } = chunkedSums(map, q, k, v1, chunk)
  return { out: add(out, matmul(q.phi, past)), total: add(total, past) }
}

/** Σ_{i ≤ n} φq(n)·φk(i) v1(i) for every n, and Σ over all i of φk(i)ᵀ v1(i). */
function chunkedSums(
  map: FeatureMap,
  ofQ: Features,
  ofK: Features,
  v1: Tensor,
  chunk?: number,
): { out: Tensor; total: Tensor } {
  const { b, h, l, f } = dims('chunkedSums', { phiQ: ofQ.phi }, { phiQ: 'b h l f' })
  const e = v1.shape[3]!
  const size = Math.min(chunk ?? (l! >= 4096 ? 128 : 64), l!)
  const count = Math.ceil(l! / size)
  const cut = (x: Tensor, width: number) => reshape(pad(x, 2, 0, count * size - l!), [b!, h!, count, size, width])
  const parts = ({ phi, u }: Features) => ({ phi: cut(phi, f!), u: cut(u, u.shape[3]!) })
  const [inQ, inK, v] = [parts(ofQ), parts(ofK), cut(v1, e)]
  const [q, k] = [inQ.phi, inK.phi]
  const inside = matmul(mul(featureProducts(map, inQ, inK), causalMask(q, size, size)), v)
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
export function withOnes(v: Tensor): Tensor {
  return concat([v, filled(v, [...v.shape.slice(0, 3), 1], 1)], -1)
}

/** The last column of `out` is the denominator of the others: (… e+1) -> (… e). */
export function normalised(out: Tensor): Tensor {
  const [y, denominator] = split(out, [out.shape[3]! - 1, 1], -1) as [Tensor, Tensor]
  return div(y, maximum(denominator, floor))
}

/** Zeros for padding, in φ(k) itself so that it enters neither the sums nor the denominator: (b h s f) -> (b h s f). */
export function masked(x: Tensor, keyMask?: Tensor): Tensor {
  if (!keyMask) return x
  const { b, s } = dims('keyMask', { keyMask }, { keyMask: 'b s' })
  return mul(x, reshape(keyMask, [b!, 1, s!, 1]))
}
