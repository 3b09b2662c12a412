/** What a layer's attention keeps of the positions it has read, so that a text can be read on. */

import { type FloatArray, floats } from '../base/array.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { Heads } from './heads.ts'

/** A layer's memory: host arrays by name, the batch first in every shape. */
export type Kept = Readonly<Record<string, FloatArray>>

/** How one kind of attention remembers. Host functions give and take {@link Kept}; `attend` is traced. */
export interface Memory {
  /** The memory before the first position. */
  empty(batch: number): Kept
  /** The same memory with room for `length` positions in all. */
  reserve(kept: Kept, length: number): Kept
  /** What the graph is given of a memory of `position` positions to read `l` more, as the `past` of {@link Memory.attend}. */
  past(kept: Kept, position: number, l: number): Kept
  /** New positions (b h l d) attend to the past and, causally, to each other; `next` goes to {@link Memory.keep}. */
  attend(past: Tensors, params: Tensors, heads: Heads): { y: Tensor; next: Tensors }
  /** The arrays that a graph of `l` positions may write over with those of `next` that have the same names. */
  inPlace(kept: Kept, l: number): Kept
  /** The memory after the graph has run. It may use the arrays of `kept` again. */
  keep(kept: Kept, next: Kept, position: number): Kept
}

/** Copies all positions of `from` (b h l d) into `into` (b h room d), from position `start` on; returns `into`. */
export function copyPositions(from: FloatArray, into: FloatArray, start: number): FloatArray {
  const [batch, heads, l, d] = from.shape as [number, number, number, number]
  const room = into.shape[2]!
  for (let row = 0; row < batch * heads; row++) {
    into.data.set(from.data.subarray(row * l * d, (row + 1) * l * d), (row * room + start) * d)
  }
  return into
}

/** One number for every sequence of a batch: (b 1 1 1). */
export function perSequence(batch: number, value: number): FloatArray {
  return floats([batch, 1, 1, 1], new Float32Array(batch).fill(value))
}
