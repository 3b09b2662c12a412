/** Embedding tables on the host: rows are gathered before the first graph, and their gradients added after the last. */

import { type FloatArray, floats, ints, type NDArray, type Params } from '../base/array.ts'
import type { Family, Lookup, ModelConfig } from '../models/model.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'

/**
 * The rows that a batch looks up, by table: ids (b l) -> (b l e) each.
 * @param start position of the first token; one for each sequence where they differ.
 * @throws RangeError when a position is past the model's length or an id outside of its vocabulary.
 */
export function lookUp(
  config: ModelConfig,
  family: Family,
  params: Params,
  ids: NDArray,
  start: number | readonly number[] = 0,
): Record<string, FloatArray> {
  const length = Math.max(...[start].flat()) + ids.shape[1]!
  if (length > config.maxLength && family.lookups.some(({ by }) => by === 'positions')) {
    throw new RangeError(
      `embed: got ${length} positions, want at most ${config.maxLength}, which the model has embeddings for`,
    )
  }
  return Object.fromEntries(
    family.lookups.map((lookup) => {
      const rows = floats([...ids.shape, config.width])
      plainKernels.gatherRows(rows, params[lookup.table]!, indices(lookup, ids, start))
      return [lookup.table, rows]
    }),
  )
}

/** Adds gradients of looked-up rows to the gradients of their tables, where those are wanted. */
export function addLookupGradients(
  family: Family,
  grads: Params,
  ids: NDArray,
  rows: Readonly<Record<string, FloatArray>>,
  kernels: Kernels,
): void {
  for (const lookup of family.lookups) {
    const table = grads[lookup.table]
    if (table) kernels.addRows(table, rows[lookup.table]!, indices(lookup, ids, 0))
  }
}

function indices({ by }: Lookup, ids: NDArray, start: number | readonly number[]): NDArray {
  if (by === 'ids') return ids
  const length = ids.shape[1]!
  const first = (row: number) => (typeof start === 'number' ? start : start[row]!)
  return ints(
    ids.shape,
    Int32Array.from(ids.data, (_, i) => first(Math.floor(i / length)) + (i % length)),
  )
}
