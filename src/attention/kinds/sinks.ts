/** Attention sinks: the first positions of a text, which softmax goes on seeing (StreamingLLM, arXiv 2309.17453). */

import { type FloatArray, floats } from '../../base/array.ts'
import { constantLike, mul } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { HeadSizes } from '../heads.ts'
import { copyPositions, type Kept } from '../memory.ts'

/** Which keys (b h s d) are no sinks, beside what a mask (b s) shows: (b s) or (1 s), or nothing where all are seen. */
export function besides(k: Tensor, sinks: number, keyMask?: Tensor): Tensor | undefined {
  if (sinks === 0) return keyMask
  const others = constantLike(k, [1, k.shape[2]!], (key) => (key < sinks ? 0 : 1))
  return keyMask ? mul(keyMask, others) : others
}

/** Room for the keys and values of sinks, where there are any. */
export function sinkRoom(sinks: number, { heads, headDim }: HeadSizes, batch: number): Kept {
  const room = () => floats([batch, heads, sinks, headDim])
  return sinks > 0 ? { sinkKeys: room(), sinkValues: room() } : {}
}

/** Puts those new positions (b h l d) that are sinks in their places; `position` is that of the first. */
export function keptSinks(
  { sinkKeys, sinkValues }: Kept,
  position: number,
  newKeys: FloatArray,
  newValues: FloatArray,
): Kept {
  const free = Math.min(sinkKeys!.shape[2]! - position, newKeys.shape[2]!)
  if (free > 0) {
    copyPositions(firstOf(newKeys, free), sinkKeys!, position)
    copyPositions(firstOf(newValues, free), sinkValues!, position)
  }
  return { sinkKeys: sinkKeys!, sinkValues: sinkValues! }
}

/** What is kept after new positions: what the graph gives of it, and the sinks, if new keys and values came for them. */
export function keptBesideSinks(kept: Kept, { newKeys, newValues, ...next }: Kept, position: number): Kept {
  return newKeys ? { ...next, ...keptSinks(kept, position, newKeys, newValues!) } : next
}

/** (b h l d) -> (b h count d). */
function firstOf(x: FloatArray, count: number): FloatArray {
  const [batch, heads, l, d] = x.shape as [number, number, number, number]
  if (count === l) return x
  const part = floats([batch, heads, count, d])
  for (let row = 0; row < batch * heads; row++) {
    part.data.set(x.data.subarray(row * l * d, (row * l + count) * d), row * count * d)
  }
  return part
}
