/** Attention as an exported graph computes it: for any number of new positions, from what was kept of those before them. */

import { featureMap, type MapName } from '../attention/featureMaps.ts'
import { type Features, featureProducts, featuresOf, masked, onOneScale } from '../attention/features.ts'
import type { HeadSizes } from '../attention/heads.ts'
import { normalised, rescaled, withOnes } from '../attention/linear.ts'
import { mapParams } from '../attention/mapParams.ts'
import type { FeatureMap } from '../attention/maps/map.ts'
import { type AttentionPlan, planName } from '../attention/plan.ts'
import { hidden, softmaxScores } from '../attention/softmax.ts'
import {
  add,
  cast,
  concat,
  greater,
  linearRecurrence,
  matmul,
  maximum,
  mul,
  reshape,
  softmax,
  sub,
  transpose,
} from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import { joinHeads, splitHeads } from '../nn/layers.ts'
import { counted, type ExportedAttention, newest, packed, realBefore, unpacked } from './exported.ts'
import { hybridExport } from './hybridAttention.ts'

/**
 * How linear attention is computed: by ONNX Runtime's operator `com.microsoft.LinearAttention`, or decomposed into
 * products, for engines that lack it.
 */
export type AttentionForm = 'operator' | 'decomposed'

/** The exported attention of a plan. @throws RangeError naming plans that have no such form, with advice. */
export function exportedAttention(plan: AttentionPlan, sizes: HeadSizes, form: AttentionForm): ExportedAttention {
  if (plan.kind === 'linear') return linearExport(plan.map, sizes, form)
  if (plan.kind === 'softmax') return cachedExport(sizes)
  if (plan.kind === 'window') return cachedExport(sizes, plan)
  if (plan.kind === 'hybrid') return hybridExport(plan, sizes)
  if (plan.kind === 'none') return { kept: {}, attend: ({ heads: { v } }) => ({ y: mul(v, 0), next: {} }) }
  throw new RangeError(
    `export: attention ${planName(plan)} has no form in ONNX operators; want linear, hybrid, softmax or window attention: ` +
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
