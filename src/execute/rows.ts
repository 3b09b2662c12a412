/** Rows of final states: cut into blocks, and picked so that only those with a label cost a row of logits. */

import { type FloatArray, floats, ints, type NDArray } from '../base/array.ts'
import { plainKernels } from '../runtime/kernels.ts'

/** The most rows of logits computed at once. */
export const headRows = 1024

/** A range of rows. */
export interface Rows {
  readonly start: number
  readonly end: number
}

/** 0 … count in ranges of at most {@link headRows}. */
export function rowBlocks(count: number): Rows[] {
  const blocks = Math.ceil(count / headRows)
  return Array.from({ length: blocks }, (_, i) => ({
    start: i * headRows,
    end: Math.min(count, (i + 1) * headRows),
  }))
}

/** Rows of a (t e) array, without a copy. */
export function rowsOf(x: FloatArray, { start, end }: Rows): FloatArray {
  const width = x.shape[1]!
  return floats([end - start, width], x.data.subarray(start * width, end * width))
}

/** Labels of some rows as a column; rows to be ignored (below 0) get label 0. */
export function labelRows(labels: NDArray, { start, end }: Rows): NDArray {
  return ints(
    [end - start, 1],
    Int32Array.from(labels.data.subarray(start, end), (label) => Math.max(label, 0)),
  )
}

/** Final states with their labels, perhaps fewer than there were. */
export interface PickedRows {
  /** (n e) */
  readonly h: FloatArray
  /** n labels, those below 0 not to be counted. */
  readonly labels: NDArray
  /** The row that each came from; all in their order where nothing was left out. */
  readonly from?: Int32Array
}

/**
 * The rows that have a label, filled up to a power of two (and whole blocks) with rows that do not count, so that few
 * graphs serve all numbers of labels; all rows where that would save none. (t e), t labels -> (n e), n labels.
 * @throws RangeError unless there is one label per row.
 */
export function labelledRows(h: FloatArray, labels: NDArray): PickedRows {
  const rows = h.shape[0]!
  if (labels.data.length !== rows) {
    throw new RangeError(`loss: got ${labels.data.length} labels for ${rows} positions, want one for each`)
  }
  const from = Int32Array.from({ length: rows }, (_, row) => row).filter((row) => labels.data[row]! >= 0)
  const size = filledSize(from.length)
  if (size >= rows) return { h, labels }
  const picked = floats([size, h.shape[1]!])
  plainKernels.gatherRows(rowsOf(picked, { start: 0, end: from.length }), h, ints([from.length], from))
  const own = new Int32Array(size).fill(-1)
  own.set(from.map((row) => labels.data[row]!))
  return { h: picked, labels: ints([size], own), from }
}

/** Puts rows (n e) where they came from, among `count` rows that are zero elsewhere. */
export function scatteredRows(picked: FloatArray, from: Int32Array, count: number): FloatArray {
  const out = floats([count, picked.shape[1]!])
  plainKernels.addRows(out, rowsOf(picked, { start: 0, end: from.length }), ints([from.length], from))
  return out
}

function filledSize(count: number): number {
  const rest = count % headRows
  return count - rest + (rest === 0 ? 0 : 2 ** Math.ceil(Math.log2(rest)))
}
