/** The window hybrid: softmax near a query, linear attention before it, with a learned gate per head (LoLCATs). */

import { floats } from '../../base/array.ts'
import {
  add,
  concat,
  cumsum,
  exp,
  filled,
  matmul,
  max,
  maximum,
  mul,
  neg,
  pad,
  reshape,
  sigmoid,
  slice,
  sub,
  transpose,
} from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Tensors } from '../../graph/trace.ts'
import type { Attention } from '../attention.ts'
import { type Chunks, chunksOf, distanceMask } from '../band.ts'
import { featureMap, isTied, type MapName } from '../featureMaps.ts'
import { type Features, featureProducts, featuresOf, masked } from '../features.ts'
import type { HeadSizes, Heads } from '../heads.ts'
import { type LinearState, normalised, normalisedRows, rescaled, withOnes } from '../linear.ts'
import { gatePath, mapParams, mapSpecs } from '../mapParams.ts'
import type { FeatureMap } from '../maps/map.ts'
import { type Memory, perSequence } from '../memory.ts'
import { cutScale, decayedSums, delayed, factor, runningLargest } from '../scales.ts'
import { hidden, type Visibility } from '../softmax.ts'
import { emptySums } from './linear.ts'

/** What is left of a hybrid to see what each part does; both where not given. */
export type HybridPart = 'window' | 'linear'

/** Settings of a hybrid. */
export interface HybridOptions {
  readonly map: MapName
  /** Positions that softmax sees, the query's own among them. */
  readonly window: number
  readonly part?: HybridPart
}

/** γ = sigmoid(g) begins at 0.1 (arXiv 2410.10254). */
const initialGate = Math.log(0.1 / 0.9)

/**
 * ŷ_n = [Σ_{i>n−w} γ e^{s_ni−c_n} v_i + φ(q_n)ᵀ Σ_{j≤n−w} φ(k_j) v_jᵀ] / [the same with v = 1], c_n the largest score of the
 * window. Unlike in linear attention, the scale of φ counts here: shifts are undone where the two sums meet.
 */
export function hybridKind({ map: name, window, part }: HybridOptions): Attention {
  const map = featureMap(name)
  const settings: Settings = { map, window, ...(part && { part }) }
  const scores: Attention['scores'] = (params, { q, k }, visibility) =>
    parallelScores(settings, params, q, k, visibility)
  return {
    params: (sizes) => ({
      ...mapSpecs(map, isTied(name), sizes),
      [gatePath]: { shape: [sizes.heads], initial: { value: initialGate } },
    }),
    scores,
    weights: (params, heads, visibility) => normalisedRows(scores(params, heads, visibility)),
    attend(params, heads, visibility) {
      const l = heads.q.shape[2]!
      const chunks = chunksOf(l, window)
      if (chunks.count > 2 && visibility.causal) return chunked(settings, params, heads, chunks, visibility)
      return matmul(normalisedRows(scores(params, heads, visibility)), heads.v)
    },
    memory: (sizes) => hybridMemory(settings, sizes),
    ...(map.positions && { positions: map.positions }),
  }
}

interface Settings {
  readonly map: FeatureMap
  readonly window: number
  readonly part?: HybridPart
}

/**
 * Scores of both parts on one scale, and the factor of the linear part on it.
 * (… l d), (… s d), features of both; the queries are the last l of s positions; `farScale` (… l 1) is the largest shift of
 * the keys before each query's window; `seen` broadcasts to (… l s).
 */
function blended(
  { map, window, part }: Settings,
  gate: Tensor,
  q: Tensor,
  k: Tensor,
  phiQ: Features,
  phiK: Features,
  farScale?: Tensor,
  seen?: Tensor,
): { scores: Tensor; linearScale?: Tensor } {
  const [l, s, d] = [q.shape.at(-2)!, k.shape.at(-2)!, q.shape.at(-1)!]
  const visible = (test: (distance: number) => boolean) => {
    const mask = distanceMask(q, l, s, test)
    return seen ? mul(mask, seen) : mask
  }
  const near = visible((distance) => distance >= 0 && distance < window)
  const far = visible((distance) => distance >= window)
  const logits = add(mul(matmul(q, transpose(k)), 1 / Math.sqrt(d)), mul(sub(1, near), hidden))
  const soft = mul(mul(exp(sub(logits, max(logits, [-1]))), near), part === 'linear' ? 0 : gate)
  const linear = mul(featureProducts(map, phiQ, phiK), part === 'window' ? mul(far, 0) : far)
  if (!phiQ.shift || !phiK.shift || !farScale) return { scores: add(soft, linear) }
  const size = add(phiQ.shift, farScale)
  const top = maximum(size, 0)
  const linearScale = exp(sub(size, top))
  const scaled = mul(mul(linear, factor(transpose(phiK.shift), farScale)), linearScale)
  return { scores: add(mul(soft, exp(neg(top))), scaled), linearScale }
}

function parallelScores(settings: Settings, params: Tensors, q: Tensor, k: Tensor, visibility: Visibility): Tensor {
  checkCausal(visibility)
  const { map } = settings
  const { q: ofQ, k: ofK } = mapParams(params)
  const [l, s] = [q.shape[2]!, k.shape[2]!]
  const start = map.positions && s > l ? { start: filled(q, [1, 1, 1, 1], s - l) } : {}
  const { keyMask } = visibility
  const phiQ = featuresOf(map, ofQ, q, start)
  const phiK = featuresOf(map, ofK, k, keyMask ? { keyMask } : {})
  const seen = keyMask && reshape(keyMask, [keyMask.shape[0]!, 1, 1, s])
  const farScale = farScaleOf(phiK, settings.window, l)
  return blended(settings, gateOf(params, 3), q, k, phiQ, phiK, farScale, seen).scores
}

/** The largest shift of the keys before the window of each of the last l positions, (b h l 1). */
function farScaleOf({ shift }: Features, window: number, l: number, past?: Tensor): Tensor | undefined {
  if (!shift) return undefined
  const s = shift.shape[2]!
  const far = slice(delayed(runningLargest(shift), window), 2, s - l, s)
  return past ? maximum(far, past) : far
}

function chunked(
  settings: Settings,
  params: Tensors,
  { q, k, v }: Heads,
  chunks: Chunks,
  { keyMask }: Visibility,
): Tensor {
  const { map, window, part } = settings
  const { count, size } = chunks
  const { q: ofQ, k: ofK } = mapParams(params)
  const features = (found: Features): Features => ({
    phi: chunks.cut(found.phi),
    u: chunks.cut(found.u),
    ...(found.shift && { shift: cutScale(found.shift, count, size) }),
  })
  const keys = featuresOf(map, ofK, k, keyMask ? { keyMask } : {})
  const phiQ = features(featuresOf(map, ofQ, q))
  const phiK = features(keys)
  const farScale = farScaleOf(keys, window, q.shape[2]!)
  const farRows = farScale && cutScale(farScale, count, size)
  const values = chunks.cut(withOnes(v))
  const seen = keyMask
    ? chunks.withPrevious(chunks.cut(reshape(keyMask, [keyMask.shape[0]!, 1, q.shape[2]!, 1])))
    : undefined
  const { scores, linearScale } = blended(
    settings,
    gateOf(params, 4),
    chunks.cut(q),
    chunks.withPrevious(chunks.cut(k)),
    phiQ,
    {
      phi: chunks.withPrevious(phiK.phi),
      u: chunks.withPrevious(phiK.u),
      ...(phiK.shift && { shift: chunks.withPrevious(phiK.shift) }),
    },
    farRows,
    seen ? transpose(seen) : chunks.seen(q),
  )
  const near = matmul(scores, chunks.withPrevious(values))
  if (part === 'window') return normalised(chunks.join(near))
  const far = farSums(phiQ.phi, phiK, values, farRows)
  return normalised(chunks.join(add(near, linearScale ? mul(far, linearScale) : far)))
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

/** γ per head, broadcastable against scores whose heads stand `axes` − 1 before the last two axes. */
function gateOf(params: Tensors, axes: number): Tensor {
  const gate = params[gatePath]!
  return reshape(sigmoid(gate), [gate.shape[0]!, ...Array<number>(axes - 1).fill(1)])
}

function checkCausal({ causal }: Visibility): void {
  if (!causal) throw new RangeError('hybrid: got bidirectional attention, want a causal model; choose linear attention')
}

/** The last w keys and values in order, and the sums of all before them. */
function hybridMemory({ map, window, part }: Settings, sizes: HeadSizes): Memory {
  const { heads, headDim } = sizes
  const ring = (batch: number) => floats([batch, heads, window, headDim])
  return {
    empty: (batch) => ({ ...emptySums(map, sizes, batch), keys: ring(batch), values: ring(batch) }),
    reserve: (kept) => kept,
    past(kept, position) {
      const batch = kept.sums!.shape[0]!
      const filled = floats([batch, window])
      const empty = Math.max(0, window - position)
      for (let row = 0; row < batch; row++) filled.data.fill(1, row * window + empty, (row + 1) * window)
      return { ...kept, filled, ...(map.positions && { start: perSequence(batch, position) }) }
    },
    attend({ sums, shift, keys, values, filled: old, start }, params, { q, k, v }) {
      const l = q.shape[2]!
      const { q: ofQ, k: ofK } = mapParams(params)
      const [allKeys, allValues] = [concat([keys!, k], 2), concat([values!, v], 2)]
      const isOld = reshape(old!, [old!.shape[0]!, 1, window, 1])
      const seen = concat([isOld, filled(q, [old!.shape[0]!, 1, l, 1], 1)], 2)
      const phiQ = featuresOf(map, ofQ, q, start ? { start } : {})
      const keyMask = reshape(seen, [old!.shape[0]!, window + l])
      const phiK = featuresOf(map, ofK, allKeys, { keyMask, ...(start && { start: sub(start, window) }) })
      const settings = { map, window, ...(part && { part }) }
      const farScale = farScaleOf(phiK, window, l, shift)
      const gate = gateOf(params, 3)
      const { scores, linearScale } = blended(settings, gate, q, allKeys, phiQ, phiK, farScale, transpose(seen))
      const v1 = withOnes(allValues)
      const past: LinearState = { sums: sums!, ...(shift && { shift }) }
      const far = matmul(phiQ.phi, past.sums)
      const farHere = farScale && shift && linearScale ? mul(far, mul(factor(shift, farScale), linearScale)) : far
      const near = matmul(scores, v1)
      // The first l of all keys have left the window of the position after the last.
      const left = (x: Tensor) => slice(x, 2, 0, l)
      const leftOut = phiK.shift && left(phiK.shift)
      const nextShift = leftOut && maximum(max(leftOut, [2]), shift!)
      const leftValues = masked(left(v1), slice(keyMask, 1, 0, l))
      const added = leftOut && nextShift ? mul(leftValues, factor(leftOut, nextShift)) : leftValues
      const next = {
        sums: add(rescaled(past, nextShift), matmul(transpose(left(phiK.phi)), added)),
        keys: slice(allKeys, 2, l, l + window),
        values: slice(allValues, 2, l, l + window),
        ...(nextShift && { shift: nextShift }),
      }
      return { y: normalised(part === 'window' ? near : add(near, farHere)), next }
    },
    inPlace: () => ({}),
    keep: (_kept, next) => next,
  }
}
