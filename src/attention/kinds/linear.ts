/** Linear attention as a kind: a feature map, and sums of constant size as memory. */

import { floats } from '../../base/array.ts'
import type { Attention } from '../attention.ts'
import { featureMap, isTied, type MapName } from '../featureMaps.ts'
import type { HeadSizes } from '../heads.ts'
import { linearAttention, linearAttentionFrom, linearScores, linearWeights } from '../linear.ts'
import { mapParams, mapSpecs } from '../mapParams.ts'
import type { FeatureMap } from '../maps/map.ts'
import { type Memory, perSequence } from '../memory.ts'
import { hasPending, pendingNames, pendingOf, pendingStep, putPending } from '../pending.ts'
import { noShift } from '../scales.ts'

/** @param name a feature map. @throws RangeError naming the known ones. */
export function linearKind(name: MapName): Attention {
  const map = featureMap(name)
  return {
    params: (sizes) => mapSpecs(map, isTied(name), sizes),
    scores: (params, { q, k }, visibility) => linearScores(map, mapParams(params), q, k, visibility),
    weights: (params, { q, k }, visibility) => linearWeights(map, mapParams(params), q, k, visibility),
    attend: (params, { q, k, v }, visibility) => linearAttention(map, mapParams(params), q, k, v, visibility),
    memory: (sizes) => sumsMemory(map, sizes),
    ...(map.positions && { positions: map.positions }),
  }
}

/** Sums of nothing: what is kept of no position. */
export function emptySums(map: FeatureMap, { heads, headDim }: HeadSizes, batch: number) {
  return {
    sums: floats([batch, heads, map.features(headDim), headDim + 1]),
    ...(map.magnitude && { shift: floats([batch, heads, 1, 1], new Float32Array(batch * heads).fill(noShift)) }),
  }
}

function sumsMemory(map: FeatureMap, sizes: HeadSizes): Memory {
  return {
    empty: (batch) => emptySums(map, sizes, batch),
    reserve: (kept) => kept,
    past: (kept, position) => (map.positions ? { ...kept, start: perSequence(kept.sums!.shape[0]!, position) } : kept),
    attend({ sums, pendingKeys, pendingValues, ...rest }, params, heads) {
      const state = { ...rest, sums: sums! }
      if (pendingKeys && pendingValues) {
        return pendingStep(map, mapParams(params), { ...state, pendingKeys, pendingValues }, heads)
      }
      const { y, state: next } = linearAttentionFrom(map, mapParams(params), state, heads.q, heads.k, heads.v)
      return { y, next: { sums: next.sums, ...(next.shift && { shift: next.shift }) } }
    },
    keep(kept, next) {
      if (!hasPending(kept)) return next
      putPending(kept, next)
      return kept
    },
    overwrites: pendingNames,
    ignoresPosition: !map.positions,
    pending: pendingOf(map, sizes),
  }
}
