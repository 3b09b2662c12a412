/** Linear attention in its equal forms: parallel (all weights), chunked (training, prefill) and recurrent (decoding). */

import {
  add,
  concat,
  cumsum,
  div,
  filled,
  linearRecurrence,
  matmul,
  maximum,
  mul,
  pad,
  reshape,
  slice,
  split,
  sub,
  sum,
  transpose,
} from '../graph/ops.ts'
import { dims } from '../graph/shapes.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { FeatureMap } from './featureMaps.ts'
import { type Features, featureProducts, featuresOf, masked, onOneScale, rescaledFeatures } from './features.ts'
import { causalFactors, cutScale, decayedSums, decayedTotal, delayed, factor, runningLargest } from './scales.ts'
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

/** Denominators are not allowed below this: a guard against 0 / 0 that changes no result. */
const floor = 1e-30

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
  const { causal, keyMask } = visibility
  const found = featuresOf(map, params.k, k, keyMask ? { keyMask } : {})
  const ofKeys = causal ? found : onOneScale(map, found, { keyMask })
  // Fewer queries than keys are the last of them.
  const start = map.positions && s! > l! ? { start: filled(q, [1, 1, 1, 1], s! - l!) } : {}
  const products = featureProducts(map, featuresOf(map, params.q, q, start), ofKeys)
  const scores = keyMask && map.kernel ? mul(products, reshape(keyMask, [b!, 1, 1, keys!])) : products
  if (!causal) return scores
  const { shift } = ofKeys
  if (!shift) return mul(scores, causalMask(q, l!, s!))
  return mul(scores, causalFactors(shift, slice(runningLargest(shift), 2, s! - l!, s!)))
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
  const { causal, keyMask, chunk } = options
  const ofQ = featuresOf(map, params.q, q)
  const ofK = featuresOf(map, params.k, k, keyMask ? { keyMask } : {})
  if (!causal) {
    return normalised(matmul(ofQ.phi, matmul(transpose(onOneScale(map, ofK, { keyMask }).phi), withOnes(v))))
  }
  // Padding without a value and without a one enters neither sum, whatever its features are.
  return normalised(chunkedSums(map, ofQ, ofK, masked(withOnes(v), keyMask), { ...(chunk && { chunk }) }).out)
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
  const ofQ = featuresOf(map, params.q, q, start)
  const ofK = featuresOf(map, params.k, k, start)
  const step = q.shape[2] === 1 ? singleStep : chunkedSums
  const { out, ...next } = step(map, ofQ, ofK, withOnes(v), { past: state, ...(chunk && { chunk }) })
  return { y: normalised(out), state: next }
}

/** How sums of rows are taken. */
interface SumOptions {
  readonly past?: LinearState
  readonly chunk?: number
}

/** Σ_{i ≤ n} φq(n)·φk(i) v1(i) for every row n, and the state after the last. */
interface Sums extends LinearState {
  readonly out: Tensor
}

/** The sums of a state under a larger shift. */
export function rescaled({ sums, shift }: LinearState, to?: Tensor): Tensor {
  return shift && to ? mul(sums, factor(shift, to)) : sums
}

function singleStep(map: FeatureMap, q: Features, k: Features, v1: Tensor, { past }: SumOptions): Sums {
  const { shift: before } = past!
  const shift = k.shift && (before ? maximum(before, k.shift) : k.shift)
  const { phi } = shift ? rescaledFeatures(map, k, shift) : k
  const after = shift && { shift }
  if (v1.dtype !== 'float32') {
    const sums = add(rescaled(past!, shift), matmul(transpose(phi), v1))
    return { out: matmul(q.phi, sums), sums, ...after }
  }
  // One operator, which reads and writes the sums once.
  const [b, h, , e] = v1.shape as [number, number, number, number]
  const flat = (x: Tensor) => reshape(x, [b, 1, -1])
  const decay = shift && before && flat(sub(before, shift))
  const { out, total } = linearRecurrence(flat(q.phi), flat(phi), flat(v1), past!.sums, decay)
  return { out: reshape(out, [b, h, 1, e]), sums: total, ...after }
}

function chunkedSums(map: FeatureMap, ofQ: Features, ofK: Features, v1: Tensor, options: SumOptions): Sums {
  const { past, chunk } = options
  const { b, h, l } = dims('chunkedSums', { phiQ: ofQ.phi }, { phiQ: 'b h l f' })
  const size = Math.min(chunk ?? (l! >= 4096 ? 128 : 64), l!)
  const count = Math.ceil(l! / size)
  const cut = (x: Tensor) => reshape(pad(x, 2, 0, count * size - l!), [b!, h!, count, size, x.shape[3]!])
  const [q, k] = [ofQ, ofK].map(({ phi, u }): Features => ({ phi: cut(phi), u: cut(u) })) as [Features, Features]
  const join = (x: Tensor) => slice(reshape(x, [b!, h!, count * size, x.shape[4]!]), 2, 0, l!)

  const scales = ofK.shift && scalesOf(ofK.shift, count, size, past?.shift)
  const v = cut(v1)
  const weights = mul(featureProducts(map, q, k), scales ? scales.inside : causalMask(q.phi, size, size))
  const inside = matmul(weights, v)
  const sums = matmul(transpose(k.phi), scales ? mul(v, scales.toEnd) : v)
  const { before, total } = prefixSums(sums, scales?.ends)
  const earlier = before && matmul(q.phi, before)
  const all = earlier ? add(inside, scales ? mul(earlier, scales.fromPrevious) : earlier) : inside
  const shift = scales && { shift: scales.last }
  if (!past) return { out: join(all), sums: total, ...shift }
  const far = matmul(ofQ.phi, past.sums)
  return {
    out: add(join(all), scales && past.shift ? mul(far, factor(past.shift, scales.rows)) : far),
    sums: add(total, rescaled(past, scales?.last)),
    ...shift,
  }
}

/** What stands before each chunk, on the scale of the end of the one before it, and the sum of all: (b h n f e), (b h f e). */
function prefixSums(sums: Tensor, ends?: Tensor): { before?: Tensor; total: Tensor } {
  const [b, h, n, f, e] = sums.shape as [number, number, number, number, number]
  const last = (x: Tensor) => reshape(slice(x, 2, n - 1, n), [b, h, f, e])
  if (n === 1) return { total: last(sums) }
  if (ends) {
    const before = decayedSums(sums, ends)
    return { before, total: decayedTotal(sums, before, ends) }
  }
  const before = cumsum(sums, 2, { exclusive: true })
  return { before, total: add(last(before), last(sums)) }
}

/** What brings the parts of chunked sums to the scale of each row: the largest key up to it. */
function scalesOf(shift: Tensor, count: number, size: number, past?: Tensor) {
  const [b, h, l] = shift.shape as [number, number, number]
  const rows = runningLargest(shift, past)
  const [keys, cut] = [cutScale(shift, count, size), cutScale(rows, count, size)]
  const end = slice(cut, 3, size - 1, size)
  const ends = reshape(end, [b, h, count, 1])
  return {
    rows,
    /** The largest of all, (b h 1 1). */
    last: slice(rows, 2, l - 1, l),
    /** Where a chunk ends, (b h n 1). */
    ends,
    /** From keys to rows of the same chunk, (b h n c c). */
    inside: causalFactors(keys, cut),
    /** From keys to their chunk's end, (b h n c 1). */
    toEnd: factor(keys, end),
    /** From the end of the chunk before to a row, (b h n c 1). */
    fromPrevious: factor(reshape(delayed(ends, 1), [b, h, count, 1, 1]), cut),
  }
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
