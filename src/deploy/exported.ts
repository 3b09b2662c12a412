/** What an exported layer is given and keeps, and the pieces that its forms share. */

import type { Heads } from '../attention/heads.ts'
import type { LinearState } from '../attention/linear.ts'
import { hidden } from '../attention/softmax.ts'
import { add, concat, cumsum, filled, matmul, mul, reshape, slice, sub } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'

/** What a layer's attention is given. */
export interface Given {
  readonly past: Tensors
  /** Parameters of the attention module. */
  readonly params: Tensors
  /** New positions (b h l d). */
  readonly heads: Heads
  /** Their positions in the text (b l), int32. */
  readonly positions: Tensor
  /**
   * (b s) of all positions, those before among them: 1 for real tokens, 0 for padding, which is before a text where a
   * hybrid is. Default: all are real.
   */
  readonly mask?: Tensor
}

/** The attention of a layer in an export. All that is kept is zeros before the first position. */
export interface ExportedAttention {
  /** Shapes of what is kept, by name; `batch_size` and `past_length` stand for sizes. */
  readonly kept: Readonly<Record<string, readonly (number | string)[]>>
  attend(given: Given): { readonly y: Tensor; readonly next: Tensors }
}

/**
 * The sums and, for maps with a magnitude, their shift: one more row, whose second number is 1 where the first is a shift.
 * So zeros mean that nothing was read: the shift is then far below any other.
 */
export function unpacked(state: Tensor, features: number): LinearState {
  if (state.shape[2] === features) return { sums: state }
  const row = slice(state, 2, features, features + 1)
  const [stored, isShift] = [slice(row, 3, 0, 1), slice(row, 3, 1, 2)]
  const shift = add(mul(stored, isShift), mul(sub(1, isShift), hidden))
  return { sums: slice(state, 2, 0, features), shift }
}

export function packed(sums: Tensor, shift: Tensor | undefined): Tensor {
  if (!shift) return sums
  const rest = sums.shape[3]! - 2
  const zero = mul(shift, 0)
  const row = concat([shift, add(zero, 1), ...Array<Tensor>(rest > 0 ? 1 : 0).fill(repeated(zero, rest))], 3)
  return concat([sums, row], 2)
}

/** (b h 1 1) -> (b h 1 n) */
function repeated(x: Tensor, n: number): Tensor {
  return matmul(x, filled(x, [1, Math.max(n, 1)], 1))
}

/** 0, 1, 2, … of n positions: (1 1 n 1). */
export function counted(like: Tensor, n: number): Tensor {
  return cumsum(filled(like, [1, 1, n, 1], 1), 2, { exclusive: true })
}

/** The number of real tokens before each position: (b s) -> (b 1 s 1). */
export function realBefore(mask: Tensor): Tensor {
  const [b, s] = mask.shape as [number, number]
  return reshape(cumsum(mask, 1, { exclusive: true }), [b, 1, s, 1])
}

/** The last l positions of an axis. */
export function newest(x: Tensor, axis: number, l: number): Tensor {
  const size = x.shape[axis]!
  return slice(x, axis, size - l, size)
}
