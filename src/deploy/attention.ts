/** Attention as an exported graph computes it: for any number of new positions, from what was kept of those before them. */

import { featureMap, type MapName } from '../attention/featureMaps.ts'
import { type Features, featureProducts, featuresOf, masked, onOneScale } from '../attention/features.ts'
import type { HeadSizes, Heads } from '../attention/heads.ts'
import { type LinearState, normalised, rescaled, withOnes } from '../attention/linear.ts'
import { mapParams } from '../attention/mapParams.ts'
import type { FeatureMap } from '../attention/maps/map.ts'
import { type AttentionPlan, planName } from '../attention/plan.ts'
import { hidden, softmaxScores } from '../attention/softmax.ts'
import {
  add,
  cast,
  concat,
  cumsum,
  filled,
  greater,
  linearRecurrence,
  matmul,
  maximum,
  mul,
  reshape,
  slice,
  softmax,
  sub,
  transpose,
} from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { joinHeads, splitHeads } from '../nn/layers.ts'

/**
 * How linear attention is computed: by ONNX Runtime's operator `com.microsoft.LinearAttention`, or decomposed into
 * products, for engines that lack it.
 */
export type AttentionForm = 'operator' | 'decomposed'

/** What a layer's attention is given. */
export interface Given {
  readonly past: Tensors
  /** Parameters of the attention module. */
  readonly params: Tensors
  /** New positions (b h l d). */
  readonly heads: Heads
  /** Their positions in the text (b l), int32. */
  readonly positions: Tensor
  /** (b s) of all positions, those before among them: 1 for real tokens, 0 for padding. Default: all are real. */
  readonly mask?: Tensor
}

/** The attention of a layer in an export. All that is kept is zeros before the first position. */
export interface ExportedAttention {
  /** Shapes of what is kept, by name; `batch_size` and `past_length` stand for sizes. */
  readonly kept: Readonly<Record<string, readonly (number | string)[]>>
  attend(given: Given): { readonly y: Tensor; readonly next: Tensors }
}

/** The exported attention of a plan. @throws RangeError naming plans that have no such form, with advice. */
export function exportedAttention(plan: AttentionPlan, sizes: HeadSizes, form: AttentionForm): ExportedAttention {
  if (plan.kind === 'linear') return linearExport(plan.map, sizes, form)
  if (plan.kind === 'softmax') return cachedExport(sizes)
  if (plan.kind === 'window') return cachedExport(sizes, plan)
  if (plan.kind === 'none') return { kept: {}, attend: ({ heads: { v } }) => ({ y: mul(v, 0), next: {} }) }
  throw new RangeError(
    `export: attention ${planName(plan)} has no form in ONNX operators; want linear, softmax or window attention: ` +
      'convert the model to one of them, or run it with hedgehog serve',
  )
}

function linearExport(name: MapName, { heads, headDim }: HeadSizes, form: AttentionForm): ExportedAttention {
  const map = featureMap(name)
  const features = map.features(headDim)
  return {
    kept: { state: ['batch_size', heads, features + (map.magnitude ? 1 : 0), headDim + 1] },
    attend({ past, params, heads: { q, k, v }, positions, mask }) {
      const [b, , l] = q.shape as [number, number, number]
      const ofMap = mapParams(params)
      const start = map.positions ? { start: reshape(cast(positions, 'float32'), [b, 1, l, 1]) } : {}
      const own = mask && newest(mask, 1, l)
      const before = unpacked(past.state!, features)
      const phiQ = featuresOf(map, ofMap.q, q, start)
      const seen = own && { keyMask: own }
      // One scale for all positions of a call: a running maximum has no form for lengths that are not known.
      const phiK = onOneScale(map, featuresOf(map, ofMap.k, k, { ...start, ...seen }), { ...seen, from: before.shift })
      // Padding without a value and without a one enters neither sum.
      const v1 = masked(withOnes(v), own)
      const sums = rescaled(before, phiK.shift)
      const { out, total } =
        form === 'operator' ? byOperator(phiQ.phi, phiK.phi, v1, sums) : byProducts(map, phiQ, phiK, v1, sums)
      return { y: normalised(out), next: { state: packed(total, phiK.shift) } }
    },
  }
}

function byOperator(phiQ: Tensor, phiK: Tensor, v: Tensor, past: Tensor): { out: Tensor; total: Tensor } {
  const { out, total } = linearRecurrence(joinHeads(phiQ), joinHeads(phiK), joinHeads(v), past)
  return { out: splitHeads(out, past.shape[1]!), total }
}

/** All pairs of new positions, and the past. */
function byProducts(
  map: FeatureMap,
  q: Features,
  k: Features,
  v: Tensor,
  past: Tensor,
): { out: Tensor; total: Tensor } {
  const at = counted(v, v.shape[2]!)
  const seen = sub(1, greater(transpose(at), at))
  return {
    out: add(matmul(mul(featureProducts(map, q, k), seen), v), matmul(q.phi, past)),
    total: add(past, matmul(transpose(k.phi), v)),
  }
}

/**
 * The sums and, for maps with a magnitude, their shift: one more row, whose second number is 1 where the first is a shift.
 * So zeros mean that nothing was read: the shift is then far below any other.
 */
function unpacked(state: Tensor, features: number): LinearState {
  if (state.shape[2] === features) return { sums: state }
  const row = slice(state, 2, features, features + 1)
  const [stored, isShift] = [slice(row, 3, 0, 1), slice(row, 3, 1, 2)]
  const shift = add(mul(stored, isShift), mul(sub(1, isShift), hidden))
  return { sums: slice(state, 2, 0, features), shift }
}

function packed(sums: Tensor, shift: Tensor | undefined): Tensor {
  if (!shift) return sums
  const rest = sums.shape[3]! - 2
  const zero = mul(shift, 0)
  const row = concat([shift, add(zero, 1), ...Array<Tensor>(rest > 0 ? 1 : 0).fill(repeated(zero, rest))], 3)
  return concat([sums, row], 2)
}

/** (b h 1 1) -> (b h 1 n) */
function repeated(x: Tensor, n: number): Tensor {
  return matmul(x, filled(x, [1, Math.max(n, 1)], 1))
}

/** Softmax attention over all keys, or over a window and sinks; keys and values are kept and grow. */
function cachedExport(
  { heads, headDim }: HeadSizes,
  band?: { readonly window: number; readonly sinks: number },
): ExportedAttention {
  const shape = ['batch_size', heads, 'past_length', headDim]
  return {
    kept: { key: shape, value: shape },
    attend({ past, heads: { q, k, v }, mask }) {
      const l = q.shape[2]!
      const [key, value] = [concat([past.key!, k], 2), concat([past.value!, v], 2)]
      const ofKeys = mask ? realBefore(mask) : counted(q, key.shape[2]!)
      const ofQueries = newest(ofKeys, 2, l)
      let unseen = greater(transpose(ofKeys), ofQueries)
      if (band) {
        const far = greater(sub(ofQueries, transpose(ofKeys)), band.window - 1)
        unseen = maximum(unseen, mul(far, greater(transpose(ofKeys), band.sinks - 1)))
      }
      const scores = softmaxScores(q, key, { causal: false, ...(mask && { keyMask: mask }) })
      return { y: matmul(softmax(add(scores, mul(unseen, hidden))), value), next: { key, value } }
    },
  }
}

/** 0, 1, 2, … of n positions: (1 1 n 1). */
function counted(like: Tensor, n: number): Tensor {
  return cumsum(filled(like, [1, 1, n, 1], 1), 2, { exclusive: true })
}

/** The number of real tokens before each position: (b s) -> (b 1 s 1). */
function realBefore(mask: Tensor): Tensor {
  const [b, s] = mask.shape as [number, number]
  return reshape(cumsum(mask, 1, { exclusive: true }), [b, 1, s, 1])
}

/** The last l positions of an axis. */
function newest(x: Tensor, axis: number, l: number): Tensor {
  const size = x.shape[axis]!
  return slice(x, axis, size - l, size)
}
