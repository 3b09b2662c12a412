/** Attention near a query: masks by distance, and chunks that each see the chunk before them. */

import { concat, constantLike, pad, reshape, slice } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'

/**
 * 1 where a query at some distance from a key passes the test, else 0: (l s). The queries are the last l of s positions;
 * a distance is the query's position less the key's, and `key` counts the keys from 0.
 */
export function distanceMask(
  like: Tensor,
  l: number,
  s: number,
  test: (distance: number, key: number) => boolean,
): Tensor {
  return constantLike(like, [l, s], (index) => {
    const [row, key] = [Math.floor(index / s), index % s]
    return test(s - l + row - key, key) ? 1 : 0
  })
}

/** A text of l positions in chunks, each wide enough that a window reaches back one chunk at most. */
export interface Chunks {
  /** Positions of a chunk. */
  readonly size: number
  readonly count: number
  /** (b h l w) -> (b h n c w), zeros after the end. */
  cut(x: Tensor): Tensor
  /** (b h n c w) -> (b h 2c w): every chunk after the one before it, which for the first is zeros. */
  withPrevious(x: Tensor): Tensor
  /** (b h n c w) -> (b h l w). */
  join(x: Tensor): Tensor
  /** (n 1 2c): 0 where a chunk has no chunk before it, else 1. */
  seen(like: Tensor): Tensor
}

/** The least positions of a chunk: smaller ones make products too small to be fast. */
const leastChunk = 64

/** @param window positions that a query sees, itself among them. */
export function chunksOf(l: number, window: number, least = leastChunk): Chunks {
  const size = Math.max(window, least)
  const count = Math.ceil(l / size)
  return {
    size,
    count,
    cut(x) {
      const [b, h, , width] = x.shape as [number, number, number, number]
      return reshape(pad(x, 2, 0, count * size - l), [b, h, count, size, width])
    },
    withPrevious: (x) => concat([slice(pad(x, 2, 1, 0), 2, 0, count), x], 3),
    join(x) {
      const [b, h, , , width] = x.shape as [number, number, number, number, number]
      return slice(reshape(x, [b, h, count * size, width]), 2, 0, l)
    },
    seen: (like) => constantLike(like, [count, 1, 2 * size], (i) => (i < size ? 0 : 1)),
  }
}
