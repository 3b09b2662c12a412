/** What a layer's attention keeps of the positions it has read: keys and values for softmax, constant sums for linear. */

import { type FeatureMap, featureMap } from '../attention/featureMaps.ts'
import { type LinearState, linearAttentionFrom } from '../attention/linear.ts'
import { type AttentionPlan, type Heads, mapParams } from '../attention/plan.ts'
import { softmaxScores } from '../attention/softmax.ts'
import { type FloatArray, floats } from '../base/array.ts'
import { add, concat, matmul, softmax, split } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { ModelConfig } from '../models/model.ts'

/** A layer's memory: host arrays by name. */
export type Kept = Readonly<Record<string, FloatArray>>

/** How one kind of attention remembers. Host functions give and take {@link Kept}; `attend` is traced. */
export interface Memory {
  /** The memory before the first position. */
  empty(batch: number): Kept
  /** The same memory with room for `length` positions in all. */
  reserve(kept: Kept, length: number): Kept
  /** What the graph is given of a memory of `position` positions, as the `past` of {@link Memory.attend}. */
  past(kept: Kept, position: number): Kept
  /** New positions (b h l d) attend to the past and, causally, to each other; `next` goes to {@link Memory.keep}. */
  attend(past: Tensors, params: Tensors, heads: Heads): { y: Tensor; next: Tensors }
  /** The arrays that a graph of `l` positions may write over with those of `next` that have the same names. */
  inPlace(kept: Kept, l: number): Kept
  /** The memory after the graph has run. It may use the arrays of `kept` again. */
  keep(kept: Kept, next: Kept, position: number): Kept
}

/** The memory that a layer's plan needs. */
export function memoryOf(plan: AttentionPlan, config: ModelConfig): Memory {
  switch (plan.kind) {
    case 'softmax':
      return softmaxMemory(config)
    case 'linear':
      return linearMemory(config, featureMap(plan.map))
  }
}

/** Below every shift that a key can ask for, and finite: exp(emptyShift − shift) is 0 and never NaN. */
const emptyShift = -1e30

function linearMemory({ heads, headDim }: ModelConfig, map: FeatureMap): Memory {
  return {
    empty: (batch) => ({
      sums: floats([batch, heads, map.features(headDim), headDim + 1]),
      ...(map.magnitude && { shift: floats([batch, heads, 1, 1], new Float32Array(batch * heads).fill(emptyShift)) }),
    }),
    reserve: (kept) => kept,
    past: (kept) => kept,
    attend({ sums, shift }, params, { q, k, v }) {
      const state: LinearState = { sums: sums!, ...(shift && { shift }) }
      const { y, state: next } = linearAttentionFrom(map, mapParams(params), state, q, k, v)
      return { y, next: { sums: next.sums, ...(next.shift && { shift: next.shift }) } }
    },
    // In a single step the old sums are read once, by what the new ones are computed from. A longer graph reads them
    // twice, and the shift is always read twice, so there the results are arrays of their own.
    inPlace: ({ sums }, l) => (l === 1 ? { sums: sums! } : {}),
    keep: (_kept, next) => next,
  }
}

/** The least positions that a cache has room for. */
const smallestCache = 32

function softmaxMemory({ heads, headDim }: ModelConfig): Memory {
  const cache = (batch: number, room: number) => floats([batch, heads, room, headDim])
  return {
    empty: (batch) => ({ keys: cache(batch, smallestCache), values: cache(batch, smallestCache) }),
    reserve(kept, length) {
      const [batch, , room] = kept.keys!.shape as [number, number, number]
      if (length <= room) return kept
      // Powers of two, so that a long text meets few shapes: a graph is compiled for each.
      const larger = 2 ** Math.ceil(Math.log2(length))
      const grown = (old: FloatArray) => copyPositions(old, cache(batch, larger), 0)
      return { keys: grown(kept.keys!), values: grown(kept.values!) }
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
      const weights = softmax(concat([toPast, toNew], -1))
      const [past, own] = split(weights, [keys!.shape[2]!, k.shape[2]!], -1) as [Tensor, Tensor]
      return { y: add(matmul(past, values!), matmul(own, v)), next: { keys: k, values: v } }
    },
    inPlace: () => ({}),
    keep(kept, next, position) {
      copyPositions(next.keys!, kept.keys!, position)
      copyPositions(next.values!, kept.values!, position)
      return kept
    },
  }
}

/** Copies all positions of `from` (b h l d) into `into` (b h room d), from position `start` on; returns `into`. */
function copyPositions(from: FloatArray, into: FloatArray, start: number): FloatArray {
  const [batch, heads, l, d] = from.shape as [number, number, number, number]
  const room = into.shape[2]!
  for (let row = 0; row < batch * heads; row++) {
    into.data.set(from.data.subarray(row * l * d, (row + 1) * l * d), (row * room + start) * d)
  }
  return into
}
