/** Embedding tables on the host: rows are gathered before the first graph, and their gradients added after the last. */

import { type FloatArray, floats, ints, type NDArray, type Params } from '../base/array.ts'
import type { Family, Lookup, ModelConfig, ModelInputs } from '../models/model.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'

/** The position of the first token; one for each sequence where they differ. */
export type Start = number | readonly number[]

/**
 * What a family's `embed` is given of a batch: the rows it looks up, by table, (b l) -> (b l e) each; of a family
 * without tables the patches as they are.
 * @throws RangeError when a position is past the model's length or an id outside of its table.
 */
export function lookUp(
  config: ModelConfig,
  family: Family,
  params: Params,
  inputs: ModelInputs,
  start: Start = 0,
): Record<string, NDArray> {
  if (family.lookups.length === 0) return { patches: inputs.ids }
  const { ids } = inputs
  const length = Math.max(...[start].flat()) + ids.shape[1]!
  if (length > config.maxLength && family.lookups.some(({ by }) => by === 'positions')) {
    throw new RangeError(
      `embed: got ${length} positions, want at most ${config.maxLength}, which the model has embeddings for`,
    )
  }
  return Object.fromEntries(
    family.lookups.map((lookup) => {
      const rows = floats([...ids.shape, config.width])
      plainKernels.gatherRows(rows, params[lookup.table]!, indices(lookup, inputs, start))
      return [lookup.table, rows]
    }),
  )
}

/** Adds gradients of looked-up rows, by table, to the gradients of the tables, where those are wanted. */
export function addLookupGradients(
  family: Family,
  grads: Params,
  inputs: ModelInputs,
  rows: Readonly<Record<string, NDArray>>,
  kernels: Kernels,
): void {
  for (const lookup of family.lookups) {
    const table = grads[lookup.table]
    if (table) kernels.addRows(table, rows[lookup.table] as FloatArray, indices(lookup, inputs, 0))
  }
}

function indices({ by, offset = 0 }: Lookup, { ids, types }: ModelInputs, start: Start): NDArray {
  if (by === 'ids') return ids
  if (by === 'types') return types ?? ints(ids.shape)
  const length = ids.shape[1]!
  const first = (row: number) => offset + (typeof start === 'number' ? start : start[row]!)
  return ints(
    ids.shape,
    Int32Array.from(ids.data, (_, i) => first(Math.floor(i / length)) + (i % length)),
  )
}
