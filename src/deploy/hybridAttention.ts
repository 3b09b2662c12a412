/** The window hybrid in an export: one state of constant size holds the sums, the kept window and the sinks. */

import { featureMap } from '../attention/featureMaps.ts'
import { type Features, featuresOf, masked, onOneScale } from '../attention/features.ts'
import type { HeadSizes } from '../attention/heads.ts'
import type { HybridOptions } from '../attention/kinds/hybrid.ts'
import { besideNothing, blended, gateOf, onScoresScale, type Reach } from '../attention/kinds/hybridScores.ts'
import { normalised, rescaled, withOnes } from '../attention/linear.ts'
import { mapParams } from '../attention/mapParams.ts'
import { hidden } from '../attention/softmax.ts'
import {
  add,
  cast,
  concat,
  constantLike,
  cumsum,
  equal,
  filled,
  greater,
  matmul,
  max,
  maximum,
  mul,
  pad,
  reshape,
  slice,
  sub,
  transpose,
} from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import { type ExportedAttention, type Given, newest, packed, unpacked } from './exported.ts'

/** @throws RangeError for a map that knows positions. */
export function hybridExport(options: HybridOptions, { heads, headDim: d }: HeadSizes): ExportedAttention {
  const { map: name, window, sinks = 0, part } = options
  const map = featureMap(name)
  if (map.positions)
    throw new RangeError(`export: a hybrid of ${name}, which knows positions, has no form; want another map`)
  const settings = { map, window, sinks, ...(part && { part }) }
  const features = map.features(d)
  /** Rows of the state: the sums, keys and values of the window, keys and values of the sinks. */
  const rows = [features + (map.magnitude ? 1 : 0), window, window, ...(sinks > 0 ? [sinks, sinks] : [])]
  return {
    kept: { state: ['batch_size', heads, rows.reduce((total, count) => total + count, 0), d + 1] },
    attend(given) {
      const {
        past,
        params,
        heads: { q, k, v },
      } = given
      const [sums, keys, values, sinkKeys, sinkValues] = cut(past.state!, rows)
      const at = columnsOf(given, window, sinks)
      const fresh = { k: pad(k, 3, 0, 1), v: withOnes(v) }
      const recent = { k: concat([keys!, fresh.k], 2), v: concat([values!, fresh.v], 2) }
      const all = {
        k: sinkKeys ? concat([sinkKeys, recent.k], 2) : recent.k,
        v: sinkValues ? concat([sinkValues, recent.v], 2) : recent.v,
      }
      const ofMap = mapParams(params)
      const before = unpacked(sums!, features)
      const phiQ = featuresOf(map, ofMap.q, q)
      const l = q.shape[2]!
      // As many as are new leave the window, and enter the sums unless they are sinks or padding. No other is before a window.
      const leaving = (x: Tensor) => slice(x, 2, 0, l)
      const shown = { keyMask: slice(at.byFeatures, 1, 0, l) }
      const ofLeaving = featuresOf(map, ofMap.k, slice(leaving(recent.k), 3, 0, d), shown)
      const farScale = farScaleOf(ofLeaving, slice(at.far, 3, 0, l), before.shift)
      const ofKeys = slice(all.k, 3, 0, d)
      const ofColumns = besideNothing(ofLeaving, sinks, window)
      const found = blended(settings, gateOf(params, 3), q, ofKeys, phiQ, ofColumns, at.reach, farScale)
      const near = matmul(found.scores, all.v)
      const far = onScoresScale(matmul(phiQ.phi, before.sums), before.shift, farScale, found.linearScale)
      const left = masked(leaving(recent.v), shown.keyMask)
      const phiK = onOneScale(map, ofLeaving, { ...shown, from: before.shift })
      const next = [
        packed(add(rescaled(before, phiK.shift), matmul(transpose(phiK.phi), left)), phiK.shift),
        newest(recent.k, 2, window),
        newest(recent.v, 2, window),
        ...(sinkKeys ? [add(sinkKeys, matmul(at.toSinks!, fresh.k))] : []),
        ...(sinkValues ? [add(sinkValues, matmul(at.toSinks!, fresh.v))] : []),
      ]
      return { y: normalised(part === 'window' ? near : add(near, far)), next: { state: concat(next, 2) } }
    },
  }
}

/** What columns of keys are: the sinks, then the kept window, then the new positions. */
interface Columns {
  readonly reach: Reach
  /** Which of the keys without the sinks each query sees by features (b 1 l w+l). */
  readonly far: Tensor
  /** Which keys of the window and new ones features see (b w+l). */
  readonly byFeatures: Tensor
  /** Brings new positions to the places of the sinks that they are (b 1 sinks l), where there are any. */
  readonly toSinks?: Tensor
}

/** Positions are counted over real tokens, so that padding before a text is in no window. */
function columnsOf({ heads: { q }, positions, mask }: Given, window: number, sinks: number): Columns {
  const l = q.shape[2]!
  const fresh = mask ? newest(cumsum(mask, 1, { exclusive: true }), 1, l) : cast(positions, 'float32')
  const own = mask ? newest(mask, 1, l) : add(mul(fresh, 0), 1)
  const before = slice(fresh, 1, 0, 1)
  const kept = add(
    before,
    constantLike(q, [1, window], (column) => column - window),
  )
  const keys = concat([kept, fresh], 1)
  const seen = concat([greater(kept, -1), own], 1)
  const isSink = mul(greater(sinks, keys), seen)
  const byFeatures = mul(seen, sub(1, isSink))
  const [column, row] = [(x: Tensor) => onAxis(x, 3), (x: Tensor) => onAxis(x, 2)]
  const distance = sub(row(fresh), column(keys))
  const isBefore = greater(distance, window - 1)
  const inWindow = mul(sub(1, isBefore), greater(distance, -1))
  const near = mul(add(inWindow, mul(isBefore, column(isSink))), column(seen))
  const far = mul(isBefore, column(byFeatures))
  if (sinks === 0) return { reach: { near, far }, far, byFeatures }
  const places = constantLike(q, [1, sinks], (sink) => sink)
  // The kept window shows a sink until it has left.
  const shown = mul(column(greater(sub(before, window), places)), filled(q, [1, 1, l, 1], 1))
  const toSinks = mul(equal(row(places), column(fresh)), column(own))
  return { reach: { near: concat([shown, near], 3), far: pad(far, 3, sinks, 0) }, far, byFeatures, toSinks }
}

/** (b n) with its second axis in the place of an axis of (b h l s). */
function onAxis(x: Tensor, axis: 2 | 3): Tensor {
  const [b, n] = x.shape as [number, number]
  return reshape(x, axis === 2 ? [b, 1, n, 1] : [b, 1, 1, n])
}

/** Rows of a state in turn. */
function cut(state: Tensor, rows: readonly number[]): Tensor[] {
  let start = 0
  return rows.map((count) => {
    const part = slice(state, 2, start, start + count)
    start += count
    return part
  })
}

/** The largest shift of what each query sees by features, of the keys that leave (b h l 1) and of those before them. */
function farScaleOf({ shift }: Features, far: Tensor, before: Tensor | undefined): Tensor | undefined {
  if (!shift || !before) return undefined
  const seen = add(transpose(shift), mul(sub(1, far), hidden))
  return maximum(max(seen, [3]), before)
}
