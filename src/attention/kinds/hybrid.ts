/** The window hybrid: softmax near a query and on sinks, linear attention between, with a learned gate per head (LoLCATs). */

import { filled, matmul, mul, reshape } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Tensors } from '../../graph/trace.ts'
import type { Attention } from '../attention.ts'
import { chunksOf, distanceMask } from '../band.ts'
import { featureMap, isTied, type MapName } from '../featureMaps.ts'
import { featuresOf } from '../features.ts'
import { normalisedRows } from '../linear.ts'
import { gatePath, mapParams, mapSpecs } from '../mapParams.ts'
import type { Visibility } from '../softmax.ts'
import { chunkedHybrid } from './hybridChunks.ts'
import { hybridMemory } from './hybridMemory.ts'
import {
  blended,
  farScaleOf,
  gateOf,
  type HybridPart,
  type HybridSettings,
  type Reach,
  shownFeatures,
} from './hybridScores.ts'
import { besides } from './sinks.ts'

/** Settings of a hybrid. */
export interface HybridOptions {
  readonly map: MapName
  /** Positions that softmax sees, the query's own among them. */
  readonly window: number
  /** First positions of the text that softmax sees besides, and the linear part does not. Default 0. */
  readonly sinks?: number
  readonly part?: HybridPart
}

/** γ = sigmoid(g) begins at 0.1 (arXiv 2410.10254). */
const initialGate = Math.log(0.1 / 0.9)

/**
 * ŷ_n = [Σ_{i>n−w} γ e^{s_ni−c_n} v_i + φ(q_n)ᵀ Σ_{j≤n−w} φ(k_j) v_jᵀ] / [the same with v = 1], c_n the largest score of the
 * window. Unlike in linear attention, the scale of φ counts here: shifts are undone where the two sums meet. Sinks (StreamingLLM,
 * arXiv 2309.17453) belong to every window: what a head rests on is no matter for features.
 */
export function hybridKind({ map: name, window, sinks = 0, part }: HybridOptions): Attention {
  const map = featureMap(name)
  const settings: HybridSettings = { map, window, sinks, ...(part && { part }) }
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
      if (chunks.count > 2 && chunks.size >= sinks && visibility.causal)
        return chunkedHybrid(settings, params, heads, chunks, visibility)
      return matmul(normalisedRows(scores(params, heads, visibility)), heads.v)
    },
    memory: (sizes) => hybridMemory(settings, sizes),
    ...(map.positions && { positions: map.positions }),
  }
}

function parallelScores(
  settings: HybridSettings,
  params: Tensors,
  q: Tensor,
  k: Tensor,
  visibility: Visibility,
): Tensor {
  checkCausal(visibility)
  const { map, window, sinks } = settings
  const { q: ofQ, k: ofK } = mapParams(params)
  const [l, s] = [q.shape[2]!, k.shape[2]!]
  const start = map.positions && s > l ? { start: filled(q, [1, 1, 1, 1], s - l) } : {}
  const { keyMask } = visibility
  const phiQ = featuresOf(map, ofQ, q, start)
  const byFeatures = besides(k, sinks, keyMask)
  const phiK = shownFeatures(map, ofK, k, byFeatures ? { keyMask: byFeatures } : {})
  const seen = keyMask && reshape(keyMask, [keyMask.shape[0]!, 1, 1, s])
  const mask = (test: (distance: number, key: number) => boolean) => {
    const found = distanceMask(q, l, s, test)
    return seen ? mul(found, seen) : found
  }
  const reach: Reach = {
    near: mask((distance, key) => distance >= 0 && (distance < window || key < sinks)),
    far: mask((distance, key) => distance >= window && key >= sinks),
  }
  return blended(settings, gateOf(params, 3), q, k, phiQ, phiK, reach, farScaleOf(phiK, window, l)).scores
}

function checkCausal({ causal }: Visibility): void {
  if (!causal) throw new RangeError('hybrid: got bidirectional attention, want a causal model; choose linear attention')
}
