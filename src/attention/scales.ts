/**
 * Scales of causal sums of exponentials: what a row adds up is kept relative to the largest key that the row has seen,
 * so that no later key, however large, changes it.
 */

import {
  add,
  concat,
  constantLike,
  exp,
  expand,
  filled,
  matmul,
  maximum,
  minimum,
  mul,
  pad,
  reshape,
  slice,
  sub,
  transpose,
} from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'

/** Below every shift that a key can ask for, and finite: exp(noShift − shift) is 0 and never NaN. */
export const noShift = -1e30

/** The running maximum of (… l 1) along its rows, and of what came before them, (… 1 1). */
export function runningLargest(x: Tensor, before?: Tensor): Tensor {
  const l = x.shape.at(-2)!
  const axis = x.shape.length - 2
  let largest = x
  // Doubling: after each round a row knows twice as many before it.
  for (let reach = 1; reach < l; reach *= 2) {
    const earlier = slice(largest, axis, 0, l - reach)
    largest = concat([slice(largest, axis, 0, reach), maximum(slice(largest, axis, reach, l), earlier)], axis)
  }
  return before ? maximum(largest, before) : largest
}

/** e^(from − to), and 1 where that is more: what is on the scale `from` brought to the larger scale `to`. */
export function factor(from: Tensor, to: Tensor): Tensor {
  return exp(minimum(sub(from, to), 0))
}

/**
 * e^(key − row) where a row sees the key, else 0: (… s 1), (… l 1) -> (… l s). The rows are the last l of s positions, and
 * see keys up to the one `back` positions before their own.
 */
export function causalFactors(keys: Tensor, rows: Tensor, back = 0): Tensor {
  const [l, s] = [rows.shape.at(-2)!, keys.shape.at(-2)!]
  const isHidden = (index: number) => (index % s) + back > Math.floor(index / s) + s - l
  const bound = constantLike(rows, [l, s], (index) => (isHidden(index) ? noShift : 0))
  return exp(minimum(sub(transpose(keys), rows), bound))
}

/** The scale of the row `by` before each, (… l 1) -> (… l 1); {@link noShift} where there is none. */
export function delayed(scale: Tensor, by: number): Tensor {
  const l = scale.shape.at(-2)!
  const axis = scale.shape.length - 2
  const none = filled(scale, scale.shape.with(axis, Math.min(by, l)), noShift)
  return by >= l ? none : concat([none, slice(scale, axis, 0, l - by)], axis)
}

/** (b h l 1) -> (b h n c 1), the last row repeated after the end. */
export function cutScale(scale: Tensor, count: number, size: number): Tensor {
  const [b, h, l] = scale.shape as [number, number, number]
  const missing = count * size - l
  const last = slice(scale, 2, l - 1, l)
  const whole = missing === 0 ? scale : concat([scale, expand(last, [b, h, missing, 1])], 2)
  return reshape(whole, [b, h, count, size, 1])
}

/** The most chunks that are added up by one product. */
const group = 32

/**
 * Running sums of chunks, without the chunk itself: (b h n f e) and scales that never fall (b h n 1) ->
 * Σ_{j < n} e^(scale_j − scale_{n−1}) sums_j, on the scale of the chunk before each. Groups of chunks are summed by a triangular
 * product, the groups in turn in groups, so the cost grows as n does.
 */
export function decayedSums(sums: Tensor, scale: Tensor): Tensor {
  const [b, h, n, f, e] = sums.shape as [number, number, number, number, number]
  if (n <= group) {
    const weights = causalFactors(scale, delayed(scale, 1), 1)
    return reshape(matmul(weights, reshape(sums, [b, h, n, f * e])), [b, h, n, f, e])
  }
  const groups = Math.ceil(n / group)
  const parts = reshape(pad(sums, 2, 0, groups * group - n), [b, h * groups, group, f, e])
  const scales = reshape(cutScale(scale, groups, group), [b, h * groups, group, 1])
  const inside = decayedSums(parts, scales)
  const ends = reshape(slice(scales, 2, group - 1, group), [b, h, groups, 1])
  const before = decayedSums(reshape(decayedTotal(parts, inside, scales), [b, h, groups, f, e]), ends)
  // The first chunk of a group follows the end of the group before it.
  const from = reshape(delayed(ends, 1), [b, h * groups, 1, 1])
  const carried = factor(from, concat([from, slice(scales, 2, 0, group - 1)], 2))
  const all = add(
    reshape(inside, [b, h, groups, group, f * e]),
    mul(reshape(before, [b, h, groups, 1, f * e]), reshape(carried, [b, h, groups, group, 1])),
  )
  return slice(reshape(all, [b, h, groups * group, f, e]), 2, 0, n)
}

/** The sum of all chunks on the scale of the last: from what {@link decayedSums} gives, (b h f e). */
export function decayedTotal(sums: Tensor, before: Tensor, scale: Tensor): Tensor {
  const [b, h, n, f, e] = sums.shape as [number, number, number, number, number]
  const last = (x: Tensor) => reshape(slice(x, 2, n - 1, n), [b, h, f, e])
  if (n === 1) return last(sums)
  return add(last(sums), mul(last(before), factor(slice(scale, 2, n - 2, n - 1), slice(scale, 2, n - 1, n))))
}
