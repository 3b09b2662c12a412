/** Numeric kernels on host arrays: what an optimizer and a training step do outside of graphs, here as plain loops. */

import { type FloatArray, type NDArray, sizeOf } from '../base/array.ts'

/** The numbers of one AdamW step, all of them plain values: the schedule and the step count are already in them. */
export interface AdamWNumbers {
  /** Learning rate of this step, at least 0. */
  readonly learningRate: number
  /** Decay of the first moment, in [0, 1). */
  readonly beta1: number
  /** Decay of the second moment, in [0, 1). */
  readonly beta2: number
  /** Added to the root of the second moment, above 0. */
  readonly epsilon: number
  /** Decoupled weight decay: the parameter shrinks by `learningRate · weightDecay` of itself. */
  readonly weightDecay: number
  /** 1 − beta1^t for step t = 1, 2, … */
  readonly correction1: number
  /** 1 − beta2^t for step t = 1, 2, … */
  readonly correction2: number
  /** The gradient is multiplied by this first, e.g. to clip it. */
  readonly gradScale: number
}

/** Loops over float32 arrays, in place. Arrays of one call have the same number of elements, else a RangeError. */
export interface Kernels {
  /** One AdamW step (arXiv 1711.05101, algorithm 2): changes the parameter and its two moments, reads the gradient. */
  adamw(parameter: FloatArray, gradient: FloatArray, m: FloatArray, v: FloatArray, numbers: AdamWNumbers): void
  /** Σ x² in float64, which is finite exactly when every element is. */
  sumSquares(array: FloatArray): number
  /** into += from */
  add(into: FloatArray, from: FloatArray): void
  /** into *= factor */
  scale(into: FloatArray, factor: number): void
  /** into = value */
  fill(into: FloatArray, value: number): void
  /**
   * table[ids[i]] += rows[i] for each i, repeated ids adding up: the gradient of an embedding. (v e), (n e), n ids.
   * @throws RangeError when shapes do not fit or an id is outside of the table; the table is then unchanged.
   */
  addRows(table: FloatArray, rows: FloatArray, ids: NDArray): void
  /** out[i] = table[ids[i]]: an embedding. (n e), (v e), n ids. @throws RangeError as {@link addRows}. */
  gatherRows(out: FloatArray, table: FloatArray, ids: NDArray): void
}

/** The kernels as loops in JavaScript: for arrays anywhere, several times slower than those of a `HostMemory`. */
export const plainKernels: Kernels = {
  adamw(parameter, gradient, m, v, numbers) {
    checkSizes('adamw', parameter, gradient, m, v)
    const [p, g, ms, vs] = [parameter.data, gradient.data, m.data, v.data]
    const { learningRate, beta1, beta2, epsilon, weightDecay, correction1, correction2, gradScale } = numbers
    const rate = learningRate / correction1
    const shrink = learningRate * weightDecay
    const root = 1 / Math.sqrt(correction2)
    for (let i = 0; i < p.length; i++) {
      const scaled = g[i]! * gradScale
      const first = ms[i]! + (1 - beta1) * (scaled - ms[i]!)
      const second = vs[i]! + (1 - beta2) * (scaled * scaled - vs[i]!)
      ms[i] = first
      vs[i] = second
      p[i] = p[i]! - (shrink * p[i]! + (rate * first) / (Math.sqrt(second) * root + epsilon))
    }
  },
  sumSquares({ data }) {
    let sum = 0
    for (let i = 0; i < data.length; i++) sum += data[i]! * data[i]!
    return sum
  },
  add(into, from) {
    checkSizes('add', into, from)
    const [a, b] = [into.data, from.data]
    for (let i = 0; i < a.length; i++) a[i] = a[i]! + b[i]!
  },
  scale({ data }, factor) {
    const rounded = Math.fround(factor)
    for (let i = 0; i < data.length; i++) data[i] = data[i]! * rounded
  },
  fill({ data }, value) {
    data.fill(value)
  },
  addRows(table, rows, ids) {
    const { width } = checkRows('addRows', table, rows, ids)
    const [into, from] = [table.data, rows.data]
    for (let row = 0; row < ids.data.length; row++) {
      const start = ids.data[row]! * width
      for (let i = 0; i < width; i++) into[start + i] = into[start + i]! + from[row * width + i]!
    }
  },
  gatherRows(out, table, ids) {
    const { width } = checkRows('gatherRows', table, out, ids)
    for (let row = 0; row < ids.data.length; row++) {
      const start = ids.data[row]! * width
      out.data.set(table.data.subarray(start, start + width), row * width)
    }
  },
}

/** @throws RangeError unless all arrays have the same number of elements. */
export function checkSizes(where: string, ...arrays: readonly FloatArray[]): void {
  const sizes = arrays.map((array) => array.data.length)
  if (sizes.every((size) => size === sizes[0])) return
  throw new RangeError(`${where}: got arrays of ${sizes.join(', ')} elements, want the same number in each`)
}

/** The number of rows of a table and their width, after checking that rows and ids fit it. @throws RangeError, TypeError */
export function checkRows(
  where: string,
  table: FloatArray,
  rows: FloatArray,
  ids: NDArray,
): { readonly height: number; readonly width: number } {
  const [height = 0, ...rest] = table.shape
  const width = sizeOf(rest)
  if (ids.dtype !== 'int32') throw new TypeError(`${where}: got ids of ${ids.dtype}, want int32`)
  if (table.shape.length === 0 || rows.data.length !== ids.data.length * width) {
    const got = `a table [${table.shape}], rows [${rows.shape}] and ${ids.data.length} ids`
    throw new RangeError(`${where}: got ${got}, want one row of ${width} values per id`)
  }
  for (let i = 0; i < ids.data.length; i++) {
    const id = ids.data[i]!
    if (id < 0 || id >= height) throw new RangeError(`${where}: got id ${id} at ${i}, want 0 to ${height - 1}`)
  }
  return { height, width }
}
