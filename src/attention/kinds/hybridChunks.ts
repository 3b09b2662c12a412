/** The window hybrid over a long text in chunks, each of which sees the one before it, the sinks, and sums of the rest. */

import {
  add,
  concat,
  constantLike,
  cumsum,
  filled,
  matmul,
  max,
  mul,
  pad,
  reshape,
  slice,
  transpose,
} from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Tensors } from '../../graph/trace.ts'
import { type Chunks, distanceMask } from '../band.ts'
import { type Features, featuresOf } from '../features.ts'
import type { Heads } from '../heads.ts'
import { normalised, withOnes } from '../linear.ts'
import { mapParams } from '../mapParams.ts'
import { cutScale, decayedSums, delayed, factor, runningLargest } from '../scales.ts'
import type { Visibility } from '../softmax.ts'
import { blended, farScaleOf, gateOf, type HybridSettings, type Reach, shownFeatures } from './hybridScores.ts'
import { besides } from './sinks.ts'

/** Causal attention (b h l e) of heads that are cut into chunks. */
export function chunkedHybrid(
  settings: HybridSettings,
  params: Tensors,
  { q, k, v }: Heads,
  chunks: Chunks,
  { keyMask }: Visibility,
): Tensor {
  const { map, window, sinks, part } = settings
  const { count, size } = chunks
  const { q: ofQ, k: ofK } = mapParams(params)
  const features = (found: Features): Features => ({
    phi: chunks.cut(found.phi),
    u: chunks.cut(found.u),
    ...(found.shift && { shift: cutScale(found.shift, count, size) }),
  })
  const byFeatures = besides(k, sinks, keyMask)
  const keys = shownFeatures(map, ofK, k, byFeatures ? { keyMask: byFeatures } : {})
  const phiQ = features(featuresOf(map, ofQ, q))
  const phiK = features(keys)
  const farScale = farScaleOf(keys, window, q.shape[2]!)
  const farRows = farScale && cutScale(farScale, count, size)
  const v1 = withOnes(v)
  const values = chunks.cut(v1)
  const withSinks = (x: Tensor, of: Tensor) => afterSinks(chunks.withPrevious(x), of, sinks)
  const empty = (x: Tensor) => pad(chunks.withPrevious(x), 3, sinks, 0)
  const { scores, linearScale } = blended(
    settings,
    gateOf(params, 4),
    chunks.cut(q),
    withSinks(chunks.cut(k), k),
    phiQ,
    { phi: empty(phiK.phi), u: empty(phiK.u), ...(phiK.shift && { shift: empty(phiK.shift) }) },
    chunkReach(settings, chunks, q, keyMask),
    farRows,
  )
  const near = matmul(scores, withSinks(values, v1))
  if (part === 'window') return normalised(chunks.join(near))
  const far = farSums(phiQ.phi, phiK, values, farRows)
  return normalised(chunks.join(add(near, linearScale ? mul(far, linearScale) : far)))
}

/** The first positions of `of` (b h l w) before those that each chunk sees: (b h n s+2c w). */
function afterSinks(seen: Tensor, of: Tensor, sinks: number): Tensor {
  if (sinks === 0) return seen
  const [b, h, n, , width] = seen.shape as [number, number, number, number, number]
  const first = reshape(slice(of, 2, 0, sinks), [b, h, 1, sinks, width])
  return concat([mul(first, filled(of, [n, 1, 1], 1)), seen], 3)
}

/** What each chunk sees of the sinks, the chunk before it and itself. Sinks that a window holds are seen there. */
function chunkReach({ window, sinks }: HybridSettings, chunks: Chunks, like: Tensor, keyMask?: Tensor): Reach {
  const { count, size } = chunks
  const rows = (mask: Tensor) => {
    const cut = chunks.cut(reshape(mask, [mask.shape[0]!, 1, mask.shape[1]!, 1]))
    return transpose(chunks.withPrevious(cut))
  }
  const seen = keyMask ? rows(keyMask) : chunks.seen(like)
  const mask = (test: (distance: number) => boolean) => distanceMask(like, size, 2 * size, test)
  const near = mul(
    mask((distance) => distance >= 0 && distance < window),
    seen,
  )
  const far = mul(
    mask((distance) => distance >= window),
    seen,
  )
  if (sinks === 0) return { near, far }
  const left = constantLike(like, [count, size, sinks], (i) => (Math.floor(i / sinks) - (i % sinks) >= window ? 1 : 0))
  const shown = keyMask ? mul(left, reshape(slice(keyMask, 1, 0, sinks), [keyMask.shape[0]!, 1, 1, 1, sinks])) : left
  const notSink = constantLike(like, [count, 1, 2 * size], (i) => {
    const [chunk, column] = [Math.floor(i / (2 * size)), i % (2 * size)]
    return (chunk - 1) * size + column >= sinks ? 1 : 0
  })
  return { near: concat([shown, near], -1), far: pad(mul(far, notSink), far.shape.length - 1, sinks, 0) }
}

/** What chunks before the previous one give, whose keys are all farther than the window: (b h n c e). */
function farSums(phiQ: Tensor, keys: Features, values: Tensor, rows?: Tensor): Tensor {
  const { phi, shift } = keys
  const beforePrevious = (sums: Tensor) => slice(pad(sums, 2, 1, 0), 2, 0, sums.shape[2]!)
  if (!shift || !rows) {
    return matmul(phiQ, beforePrevious(cumsum(matmul(transpose(phi), values), 2, { exclusive: true })))
  }
  const [b, h, n] = shift.shape as [number, number, number]
  const ends = runningLargest(reshape(max(shift, [3]), [b, h, n, 1]))
  const perChunk = reshape(ends, [b, h, n, 1, 1])
  const sums = decayedSums(matmul(transpose(phi), mul(values, factor(shift, perChunk))), ends)
  return mul(matmul(phiQ, beforePrevious(sums)), factor(reshape(delayed(ends, 2), [b, h, n, 1, 1]), rows))
}
