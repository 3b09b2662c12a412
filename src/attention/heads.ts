/** The arguments of an attention: queries, keys and values by head. */

import type { Tensor } from '../graph/tensor.ts'
import { repeatHeads } from '../nn/layers.ts'

/** Queries (b h l d), keys (b h s d) and values (b h s e) of a layer, keys already repeated for grouped queries. */
export interface Heads {
  readonly q: Tensor
  readonly k: Tensor
  readonly v: Tensor
}

/** The attention of a block: heads -> (b h l e). A block takes it as an argument; conversion only exchanges it. */
export type Attend = (heads: Heads) => Tensor

/** Sizes of a layer's heads. */
export interface HeadSizes {
  readonly heads: number
  readonly headDim: number
}

/**
 * Heads whose keys and values serve several query heads each (grouped queries).
 * @throws RangeError when the key heads do not divide the query heads.
 */
export function grouped({ q, k, v }: Heads): Heads {
  const times = q.shape[1]! / k.shape[1]!
  if (!Number.isInteger(times)) {
    throw new RangeError(`grouped: got ${q.shape[1]} query heads, want a multiple of the ${k.shape[1]} key heads`)
  }
  return { q, k: repeatHeads(k, times), v: repeatHeads(v, times) }
}
