/** States of several sequences as one: memories on top of each other, rows of them, and memories of unequal positions. */

import type { Kept, Memory } from '../attention/memory.ts'
import { pendingNames } from '../attention/pending.ts'
import { type FloatArray, floats } from '../base/array.ts'

/** Arrays of the same names and shapes, on top of each other along the batch axis. */
export function stacked(rows: readonly Kept[]): Kept {
  return mapNames(rows[0]!, (name) => stackedArrays(rows.map((row) => row[name]!)))
}

/** Sequence `row` of arrays with the batch first, as a batch of one; a view, not a copy. */
export function rowOf(kept: Kept, row: number): Kept {
  return mapNames(kept, (name) => rowOfArray(kept[name]!, row))
}

/** Writes a memory of one sequence over sequence `row` of others with equal shapes. */
export function putRow(kept: Kept, row: number, from: Kept): void {
  for (const [name, array] of Object.entries(kept)) rowOfArray(array, row).data.set(from[name]!.data)
}

/** A copy that shares no array with its original. */
export function copied(kept: Kept): Kept {
  return mapNames(kept, (name) => copiedArray(kept[name]!))
}

/** A copy of the arrays that are written over as more is read; the others belong to both. */
export function forked(kept: Kept, { overwrites }: Memory): Kept {
  return mapNames(kept, (name) => (overwrites.includes(name) ? copiedArray(kept[name]!) : kept[name]!))
}

/** Names and shapes, without the batch: equal for memories that can be stacked, with places for waiting positions or without. */
export function shapeKey(layers: readonly Kept[]): string {
  return layers.map((kept) => settledNames(kept).map((name) => `${name}[${kept[name]!.shape.slice(1)}]`)).join(' ')
}

/** A memory with places for positions that wait, where it is of a kind that has them. */
export function withRoom({ pending }: Memory, kept: Kept): Kept {
  return pending ? pending.room(kept) : kept
}

/** Bytes of memories once no position waits. */
export function settledBytes(layers: readonly Kept[]): number {
  return layers.reduce((sum, kept) => sum + bytesOf(settledNames(kept).map((name) => kept[name]!)), 0)
}

/** Bytes of memories with all that they have room for. */
export function heldBytes(layers: readonly Kept[]): number {
  return layers.reduce((sum, kept) => sum + bytesOf(Object.values(kept)), 0)
}

function bytesOf(arrays: readonly FloatArray[]): number {
  return arrays.reduce((sum, { data }) => sum + data.byteLength, 0)
}

/** A memory whose sequences need not have read equally much; each is treated by {@link Memory} on its own. */
export interface BatchMemory {
  reserve(kept: Kept, positions: readonly number[], l: number): Kept
  past(kept: Kept, positions: readonly number[], l: number): Kept
  keep(kept: Kept, next: Kept, positions: readonly number[]): Kept
}

export function batchMemory(memory: Memory): BatchMemory {
  return {
    reserve: (kept, positions, l) => memory.reserve(kept, Math.max(...positions) + l),
    past(kept, positions, l) {
      if (memory.ignoresPosition || areEqual(positions)) return memory.past(kept, positions[0]!, l)
      const rows = positions.map((_, row) => rowOf(kept, row))
      return joined(
        rows.map((row, i) => memory.past(row, positions[i]!, l)),
        [kept],
      )
    },
    keep(kept, next, positions) {
      if (memory.ignoresPosition || areEqual(positions)) return memory.keep(kept, next, positions[0]!)
      const rows = positions.map((position, row) => memory.keep(rowOf(kept, row), rowOf(next, row), position))
      return joined(rows, [kept, next])
    },
  }
}

/** Rows on top of each other; where they are still the rows of an array of `whole`, that array and no copy. */
function joined(rows: readonly Kept[], whole: readonly Kept[]): Kept {
  const arrays = whole.flatMap((kept) => Object.values(kept))
  return mapNames(rows[0]!, (name) => {
    const parts = rows.map((row) => row[name]!)
    return arrays.find((array) => parts.every((part, row) => isRow(part, array, row))) ?? stackedArrays(parts)
  })
}

function isRow({ data }: FloatArray, array: FloatArray, row: number): boolean {
  const { data: view } = rowOfArray(array, row)
  return data.buffer === view.buffer && data.byteOffset === view.byteOffset && data.length === view.length
}

function rowOfArray({ shape, data }: FloatArray, row: number): FloatArray {
  const size = data.length / shape[0]!
  return floats([1, ...shape.slice(1)], data.subarray(row * size, (row + 1) * size))
}

function stackedArrays(parts: readonly FloatArray[]): FloatArray {
  const { shape, data } = parts[0]!
  const whole = floats([parts.length, ...shape.slice(1)])
  for (const [row, part] of parts.entries()) whole.data.set(part.data, row * data.length)
  return whole
}

function copiedArray({ shape, data }: FloatArray): FloatArray {
  return floats(shape, data.slice())
}

const ofPending: ReadonlySet<string> = new Set(pendingNames)

/** Sorted, since a file gives them in another order. */
function settledNames(kept: Kept): string[] {
  return Object.keys(kept)
    .filter((name) => !ofPending.has(name))
    .sort()
}

function mapNames(kept: Kept, array: (name: string) => FloatArray): Kept {
  return Object.fromEntries(Object.keys(kept).map((name) => [name, array(name)]))
}

function areEqual(positions: readonly number[]): boolean {
  return positions.every((position) => position === positions[0])
}
