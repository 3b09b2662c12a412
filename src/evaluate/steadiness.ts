/** How steadily one quantity rises with another: rank correlation and inversions of one row in one merge sort. */

import { pearson } from '../metrics/ranks.ts'

/** What {@link steadiness} finds. */
export interface Steadiness {
  /** Spearman's correlation, in [−1, 1]; 0 where one of the two does not vary. Ties share their mean rank. */
  readonly correlation: number
  /**
   * The share of all n(n−1)/2 pairs that the two order strictly oppositely, in [0, 1]. A tie in either is no inversion, so
   * a constant row has none. 0 for fewer than two values.
   */
  readonly inversions: number
}

/**
 * Sorts `x` once and gives a function that compares rows with it, each in O(n log n).
 * @throws RangeError from that function when a row is not as long as `x`.
 */
export function steadiness(x: ArrayLike<number>): (y: ArrayLike<number>) => Steadiness {
  const n = x.length
  const order = Uint32Array.from({ length: n }, (_, i) => i)
  const spare = new Uint32Array(n)
  sortBy(x, order, spare)
  const xRanks = ranksIn(x, order)
  const runs = tiedRuns(x, order)
  return (y) => {
    if (y.length !== n) throw new RangeError(`steadiness: got ${y.length} values beside ${n}, want as many`)
    const own = order.slice()
    // Where x ties, y rises, so that no pair of a tie is counted.
    for (const [start, end] of runs) sortBy(y, own.subarray(start, end), spare)
    const strict = sortBy(y, own, spare)
    return { correlation: pearson(xRanks, ranksIn(y, own)), inversions: n < 2 ? 0 : strict / ((n * (n - 1)) / 2) }
  }
}

/** Sorts indices by their values, rising and stable (merge sort from below); returns how many pairs were inverted. */
function sortBy(values: ArrayLike<number>, order: Uint32Array, spare: Uint32Array): number {
  const n = order.length
  let [from, to] = [order, spare.subarray(0, n)]
  let inverted = 0
  for (let width = 1; width < n; width *= 2) {
    for (let start = 0; start < n; start += 2 * width) {
      const [middle, end] = [Math.min(start + width, n), Math.min(start + 2 * width, n)]
      let [left, right] = [start, middle]
      for (let at = start; at < end; at++) {
        const takesRight = right < end && (left === middle || values[from[right]!]! < values[from[left]!]!)
        if (takesRight) inverted += middle - left
        to[at] = from[takesRight ? right++ : left++]!
      }
    }
    ;[from, to] = [to, from]
  }
  if (from !== order) order.set(from)
  return inverted
}

/** Ranks from 0, ties sharing their mean, of values whose rising order is known. */
function ranksIn(values: ArrayLike<number>, order: Uint32Array): Float64Array {
  const found = new Float64Array(order.length)
  for (let start = 0; start < order.length; ) {
    const end = runEnd(values, order, start)
    for (let i = start; i < end; i++) found[order[i]!] = (start + end - 1) / 2
    start = end
  }
  return found
}

/** Where equal values stand in their order: [start, end) of every run of two or more. */
function tiedRuns(values: ArrayLike<number>, order: Uint32Array): [start: number, end: number][] {
  const runs: [number, number][] = []
  for (let start = 0; start < order.length; ) {
    const end = runEnd(values, order, start)
    if (end - start > 1) runs.push([start, end])
    start = end
  }
  return runs
}

function runEnd(values: ArrayLike<number>, order: Uint32Array, start: number): number {
  let end = start + 1
  while (end < order.length && values[order[end]!] === values[order[start]!]) end += 1
  return end
}
