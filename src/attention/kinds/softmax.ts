/** Softmax attention as a kind: the teacher, which remembers every key and value. */

import { floats } from '../../base/array.ts'
import { add, concat, matmul, softmax, split } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Attention } from '../attention.ts'
import type { HeadSizes } from '../heads.ts'
import { copyPositions, type Memory } from '../memory.ts'
import { softmaxAttention, softmaxScores, softmaxWeights } from '../softmax.ts'

export const softmaxKind: Attention = {
  params: () => ({}),
  scores: (_params, { q, k }, visibility) => softmaxWeights(q, k, visibility),
  weights: (_params, { q, k }, visibility) => softmaxWeights(q, k, visibility),
  attend: (_params, { q, k, v }, visibility) => softmaxAttention(q, k, v, visibility),
  memory: (sizes) => cacheMemory(sizes, softmax),
}

/** The least positions that a cache has room for. */
const smallestCache = 32

/**
 * Keeps all keys and values.
 * @param weigh scores (b h l s) -> weights, hidden scores being very low
 */
export function cacheMemory({ heads, headDim }: HeadSizes, weigh: (scores: Tensor) => Tensor): Memory {
  const cache = (batch: number, room: number) => floats([batch, heads, room, headDim])
  return {
    empty: (batch) => ({ keys: cache(batch, smallestCache), values: cache(batch, smallestCache) }),
    reserve(kept, length) {
      const [batch, , room] = kept.keys!.shape as [number, number, number]
      if (length <= room) return kept
      // Powers of two, so that a long text meets few shapes: a graph is compiled for each.
      const larger = 2 ** Math.ceil(Math.log2(length))
      return {
        keys: copyPositions(kept.keys!, cache(batch, larger), 0),
        values: copyPositions(kept.values!, cache(batch, larger), 0),
      }
    },
    past(kept, position) {
      const [batch, , room] = kept.keys!.shape as [number, number, number]
      const filled = floats([batch, room])
      for (let row = 0; row < batch; row++) filled.data.fill(1, row * room, row * room + position)
      return { ...kept, filled }
    },
    attend({ keys, values, filled }, _params, { q, k, v }) {
      const toPast = softmaxScores(q, keys!, { causal: false, keyMask: filled! })
      const toNew = softmaxScores(q, k, { causal: true })
      const weights = weigh(concat([toPast, toNew], -1))
      const [past, own] = split(weights, [keys!.shape[2]!, k.shape[2]!], -1) as [Tensor, Tensor]
      return { y: add(matmul(past, values!), matmul(own, v)), next: { keys: k, values: v } }
    },
    keep(kept, next, position) {
      copyPositions(next.keys!, kept.keys!, position)
      copyPositions(next.values!, kept.values!, position)
      return kept
    },
    overwrites: ['keys', 'values'],
  }
}
