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
  /** The memory after the graph has run. It may use the arrays of `kept` again. */
  keep(kept: Kept, next: Kept, position: number): Kept
  /** Names of the arrays that `keep` writes over; forks share all others. */
  readonly overwrites: readonly string[]
  /** Whether `past` and `keep` do the same at every position. */
  readonly ignoresPosition?: boolean
  /** How positions that are read one at a time may wait, where a step would else write all of the memory anew. */
  readonly pending?: Pending
}

/** Positions that are read one at a time and kept beside a memory until it takes them in together, before several are read at once. */
export interface Pending {
  /**
   * The memory with places for such positions, as it is where it has them.
   * @param old places that nobody needs any more, which are emptied and used again
   */
  room(kept: Kept, old?: Kept): Kept
  /** Whether a memory has places, empty or not. */
  isWaiting(kept: Kept): boolean
  /** Whether there is no place left. */
  isFull(kept: Kept): boolean
  /** Traced: what of the memory is computed anew with these positions in it. */
  settled(kept: Tensors): Tensors
  /** Everything else of the memory with these positions in it, and without places. It may share arrays with `kept`. */
  moved(kept: Kept): Kept
  /** Names of results of `settled` that may be written over the arrays of these names. */
  readonly inPlace: readonly string[]
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
