/** Sliding-window softmax with attention sinks, which needs no training (StreamingLLM, arXiv 2309.17453). */

import { floats } from '../../base/array.ts'
import {
  add,
  concat,
  constantLike,
  matmul,
  mul,
  reshape,
  slice,
  softmax,
  split,
  sub,
  transpose,
} from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Attention } from '../attention.ts'
import { type Chunks, chunksOf, distanceMask } from '../band.ts'
import type { HeadSizes, Heads } from '../heads.ts'
import type { Memory } from '../memory.ts'
import { hidden, softmaxScores, type Visibility } from '../softmax.ts'
import { keptBesideSinks, sinkRoom } from './sinks.ts'

/** Settings of a sliding window. */
export interface WindowOptions {
  /** Positions that a query sees, itself among them. */
  readonly window: number
  /** First positions of the text that every query sees besides. */
  readonly sinks: number
}

/** Softmax over the last `window` positions and the first `sinks`; causal only. */
export function windowKind(options: WindowOptions): Attention {
  const weights: Attention['weights'] = (_params, { q, k }, visibility) => windowWeights(options, q, k, visibility)
  return {
    params: () => ({}),
    scores: weights,
    weights,
    attend(params, heads, visibility) {
      const chunks = chunksOf(heads.q.shape[2]!, options.window)
      if (chunks.count > 2 && chunks.size >= options.sinks && !visibility.keyMask && visibility.causal) {
        return chunked(options, heads, chunks)
      }
      return matmul(weights(params, heads, visibility), heads.v)
    },
    memory: (sizes) => windowMemory(options, sizes),
  }
}

function windowWeights({ window, sinks }: WindowOptions, q: Tensor, k: Tensor, visibility: Visibility): Tensor {
  if (!visibility.causal) throw new RangeError('window: got bidirectional attention, want a causal model')
  const [l, s] = [q.shape[2]!, k.shape[2]!]
  const seen = distanceMask(q, l, s, (distance, key) => distance >= 0 && (distance < window || key < sinks))
  return softmax(add(softmaxScores(q, k, { ...visibility, causal: false }), mul(sub(1, seen), hidden)))
}

function chunked({ window, sinks }: WindowOptions, { q, k, v }: Heads, chunks: Chunks): Tensor {
  const { size, count } = chunks
  const scale = q.shape[3]! ** -0.5
  const queries = mul(chunks.cut(q), scale)
  const near = distanceMask(q, size, 2 * size, (distance) => distance >= 0 && distance < window)
  const seen = mul(near, chunks.seen(q))
  const scores = [add(matmul(queries, transpose(chunks.withPrevious(chunks.cut(k)))), mul(sub(1, seen), hidden))]
  if (sinks > 0) {
    const isFar = constantLike(q, [count, size, sinks], (i) => {
      const [position, sink] = [Math.floor(i / sinks), i % sinks]
      return position - sink >= window ? 0 : hidden
    })
    scores.unshift(add(matmul(queries, transpose(first(k, sinks))), isFar))
  }
  const weights = softmax(concat(scores, -1))
  const values = chunks.withPrevious(chunks.cut(v))
  if (sinks === 0) return chunks.join(matmul(weights, values))
  const [toSinks, toNear] = split(weights, [sinks, 2 * size], -1) as [Tensor, Tensor]
  return chunks.join(add(matmul(toSinks, first(v, sinks)), matmul(toNear, values)))
}

/** The first positions, for every chunk: (b h s d) -> (b h 1 count d). */
function first(x: Tensor, count: number): Tensor {
  const [b, h, , d] = x.shape as [number, number, number, number]
  return reshape(slice(x, 2, 0, count), [b, h, 1, count, d])
}

/** The last w keys and values in order, and those of the sinks. */
function windowMemory({ window, sinks }: WindowOptions, sizes: HeadSizes): Memory {
  const room = (batch: number) => floats([batch, sizes.heads, window, sizes.headDim])
  return {
    empty: (batch) => ({
      keys: room(batch),
      values: room(batch),
      ...sinkRoom(sinks, sizes, batch),
    }),
    reserve: (kept) => kept,
    past(kept, position, l) {
      const batch = kept.keys!.shape[0]!
      return { ...kept, bias: visibleBias({ window, sinks }, batch, position, l) }
    },
    attend({ keys, values, sinkKeys, sinkValues, bias }, _params, { q, k, v }) {
      const l = q.shape[2]!
      const recent = { keys: concat([keys!, k], 2), values: concat([values!, v], 2) }
      const all = {
        keys: sinkKeys ? concat([sinkKeys, recent.keys], 2) : recent.keys,
        values: sinkValues ? concat([sinkValues, recent.values], 2) : recent.values,
      }
      const [b, s] = [q.shape[0]!, all.keys.shape[2]!]
      const scores = add(softmaxScores(q, all.keys, { causal: false }), reshape(bias!, [b, 1, l, s]))
      const last = (x: Tensor) => slice(x, 2, l, l + window)
      const next = { keys: last(recent.keys), values: last(recent.values) }
      return {
        y: matmul(softmax(scores), all.values),
        next: { ...next, ...(sinks > 0 && { newKeys: k, newValues: v }) },
      }
    },
    keep: keptBesideSinks,
    overwrites: ['sinkKeys', 'sinkValues'],
  }
}

/** 0 where a new position sees a sink, a kept or a new key, else very low: (b l s) with s = sinks + window + l. */
function visibleBias({ window, sinks }: WindowOptions, batch: number, position: number, l: number) {
  const s = sinks + window + l
  const bias = floats([batch, l, s])
  for (let i = 0; i < bias.data.length; i++) {
    const [row, column] = [Math.floor(i / s) % l, i % s]
    const query = position + row
    // Positions of keys: sinks, then the kept window, then the new ones.
    const key = column < sinks ? column : position - window + column - sinks
    const near = key <= query && query - key < window
    const isNew = key >= position
    const seen = column < sinks ? key < position && !near : key >= 0 && key <= query && (near || (isNew && key < sinks))
    if (!seen) bias.data[i] = hidden
  }
  return bias
}
