/** Weights laid out for products with few rows: one row of a matrix for each of its outputs. */

import { type FloatArray, floats, type Params } from '../base/array.ts'
import { transpose } from '../graph/ops.ts'
import type { Tensors } from '../graph/trace.ts'
import { paramSpecs } from '../models/families.ts'
import type { Model } from '../models/model.ts'

/** Parameters of which some matrices (i o) are copied as (o i), and the way back for functions that want them as they were. */
export interface RowWeights {
  readonly params: Params
  /** What a traced function takes for its parameters, given inputs by `prefix` and path. */
  asStored(inputs: Tensors, prefix: string): Tensors
}

/**
 * Matrices that a checkpoint has as (i o) are copied, all others shared: at one position a product then takes as long as
 * reading the matrix, and at eight little longer, where the engine takes 1.5 and 3 times as long with (i o).
 */
export function rowWeights({ config, params }: Model): RowWeights {
  const specs = Object.entries(paramSpecs(config))
  const turned = new Set(specs.flatMap(([path, { inputAxis }]) => (inputAxis === 0 ? [path] : [])))
  const copies = Object.entries(params).map(([path, array]) => [path, turned.has(path) ? transposed(array) : array])
  return {
    params: Object.fromEntries(copies),
    asStored: (inputs, prefix) =>
      Object.fromEntries(
        Object.entries(inputs).map(([path, tensor]) => [path, turned.has(prefix + path) ? transpose(tensor) : tensor]),
      ),
  }
}

/** Parameters as they are. */
export function storedWeights({ params }: Model): RowWeights {
  return { params, asStored: (inputs) => inputs }
}

/** Rows and columns copied at a time, so that reads and writes both stay in the cache. */
const tile = 32

/** (i o) -> (o i). */
export function transposed({ shape, data }: FloatArray): FloatArray {
  const [rows, columns] = shape as [number, number]
  const out = floats([columns, rows])
  for (let top = 0; top < rows; top += tile) {
    for (let left = 0; left < columns; left += tile) {
      const [bottom, right] = [Math.min(top + tile, rows), Math.min(left + tile, columns)]
      for (let column = left; column < right; column++) {
        for (let row = top; row < bottom; row++) out.data[column * rows + row] = data[row * columns + column]!
      }
    }
  }
  return out
}
