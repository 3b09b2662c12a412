/** The public functions on tensors: thin, checked ways to apply the operators of primitives.ts. */

import { type Data, type DType, type NDArray, sizeOf } from '../base/array.ts'
import { positiveAxis } from './shapes.ts'
import { type Attrs, Tensor } from './tensor.ts'

/** A tensor, or a number that becomes a scalar constant beside it. */
export type Operand = Tensor | number

/** Sum, difference, product and quotient with NumPy broadcasting. */
export const add = (a: Operand, b: Operand): Tensor => binary('Add', a, b)
export const sub = (a: Operand, b: Operand): Tensor => binary('Sub', a, b)
export const mul = (a: Operand, b: Operand): Tensor => binary('Mul', a, b)
export const div = (a: Operand, b: Operand): Tensor => binary('Div', a, b)
/** The larger or smaller of two, elementwise; at ties the gradient goes to the first operand. */
export const maximum = (a: Operand, b: Operand): Tensor => binary('Max', a, b)
export const minimum = (a: Operand, b: Operand): Tensor => binary('Min', a, b)
/** 1 where a > b (a = b), else 0, as floats; no gradient passes. */
export const greater = (a: Operand, b: Operand): Tensor => binary('Greater', a, b)
export const equal = (a: Operand, b: Operand): Tensor => binary('Equal', a, b)

export const neg = (x: Tensor): Tensor => one('Neg', [x])
export const exp = (x: Tensor): Tensor => one('Exp', [x])
export const log = (x: Tensor): Tensor => one('Log', [x])
export const sqrt = (x: Tensor): Tensor => one('Sqrt', [x])
export const abs = (x: Tensor): Tensor => one('Abs', [x])
export const sin = (x: Tensor): Tensor => one('Sin', [x])
export const cos = (x: Tensor): Tensor => one('Cos', [x])
export const tanh = (x: Tensor): Tensor => one('Tanh', [x])
export const sigmoid = (x: Tensor): Tensor => one('Sigmoid', [x])
export const relu = (x: Tensor): Tensor => one('Relu', [x])
/**
 * The running form of attention by features, as one operator of ONNX Runtime (`com.microsoft.LinearAttention`):
 * φ(q) (b l h·f), φ(k) (b l h·f), v (b l h·e) and the sums of a past (b h f e) -> sums for each query (b l h·e), and the
 * past after the last. Before each position the past is multiplied by e^decay (b l h), where given. It has no gradient,
 * and float32 precision also in float64 graphs.
 */
export function linearRecurrence(
  phiQ: Tensor,
  phiK: Tensor,
  v: Tensor,
  past: Tensor,
  decay?: Tensor,
): { out: Tensor; total: Tensor } {
  const inputs = [phiQ, phiK, v, past, ...(decay ? [decay] : [])]
  const [out, total] = phiQ.trace.apply('LinearAttention', inputs, { heads: past.shape[1]! })
  return { out: out!, total: total! }
}

/** x for x > 0, else exp(x) − 1. */
export const elu = (x: Tensor): Tensor => one('Elu', [x])
/** GELU in its tanh form, x·σ(√(8/π)(x + 0.044715 x³)): the one GPT-2 calls gelu_new. */
export const gelu = (x: Tensor): Tensor => one('Gelu', [x])

/** 2/√π ∫₀ˣ exp(−t²) dt. */
export const erf = (x: Tensor): Tensor => one('Erf', [x])
/** GELU as it is defined, x·Φ(x) with Φ of the normal distribution: the one BERT calls gelu. */
export const geluExact = (x: Tensor): Tensor => mul(mul(x, add(erf(mul(x, Math.SQRT1_2)), 1)), 0.5)

/** The tensor itself, as a constant for gradients. */
export const stopGradient = (x: Tensor): Tensor => one('StopGradient', [x])
/** `stored`'s value with `computed`'s gradient: what lets a backward pass use what a forward pass saved. */
export const storedAs = (computed: Tensor, stored: Tensor): Tensor => one('Stored', [computed, stored])

/**
 * Matrix product over the last two axes, leading axes broadcast: (… m k), (… k n) -> (… m n). Where the trace says so, few
 * rows times a transposed matrix are turned round, so that the engine reads the matrix once and as it lies.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  const { trace } = b
  const node = trace.producer(b)
  const isTurned = node?.op === 'Transpose' && b.shape.length === 2 && a.shape.length === 2
  if (!isTurned || a.shape[0]! > trace.turnedRows) return one('MatMul', [a, b])
  return transpose(one('MatMul', [new Tensor(trace, node.inputs[0]!), transpose(a)]))
}

/** The same numbers in another dtype, fractions cut off for int32; no gradient passes. */
export const cast = (x: Tensor, dtype: DType): Tensor => (x.dtype === dtype ? x : one('Cast', [x], { to: dtype }))

/** Permutes axes; the default swaps the last two. What moves no element is a {@link reshape}. */
export function transpose(x: Tensor, perm: readonly number[] = swapLast(x.shape.length)): Tensor {
  const moved = perm.filter((axis) => x.shape[axis] !== 1)
  if (moved.every((axis, i) => i === 0 || axis > moved[i - 1]!)) {
    return reshape(
      x,
      perm.map((axis) => x.shape[axis]!),
    )
  }
  return one('Transpose', [x], { perm })
}

/** Another shape of the same size; one size may be −1. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  const known = shape.reduce((product, size) => (size < 0 ? product : product * size), 1)
  const full = shape.map((size) => (size < 0 ? sizeOf(x.shape) / known : size))
  const source = unshaped(x)
  if (same(full, x.shape)) return x
  return same(full, source.shape) ? source : one('Reshape', [source], { shape: full })
}

/** What was there before it got other shapes. */
function unshaped(x: Tensor): Tensor {
  const node = x.trace.producer(x)
  return node?.op === 'Reshape' ? unshaped(new Tensor(x.trace, node.inputs[0]!)) : x
}

/** Broadcasts to a shape. */
export function expand(x: Tensor, shape: readonly number[]): Tensor {
  return same(shape, x.shape) ? x : one('Expand', [x], { shape })
}

/** Joins tensors along an axis. */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  if (parts.length === 1) return parts[0]!
  return one('Concat', parts, { axis: positiveAxis('concat', axis, parts[0]!.shape.length) })
}

/** Cuts a tensor along an axis into parts of the given sizes. */
export function split(x: Tensor, sizes: readonly number[], axis: number): Tensor[] {
  if (sizes.length === 1) return [x]
  return x.trace.apply('Split', [x], { sizes, axis: positiveAxis('split', axis, x.shape.length) })
}

/** Positions [start, end) of an axis. */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  const positive = positiveAxis('slice', axis, x.shape.length)
  if (start === 0 && end === x.shape[positive]) return x
  return one('Slice', [x], { axis: positive, start, end })
}

/** Zeros put before and after an axis. */
export function pad(x: Tensor, axis: number, before: number, after: number): Tensor {
  if (before === 0 && after === 0) return x
  return one('Pad', [x], { axis: positiveAxis('pad', axis, x.shape.length), before, after })
}

/** Sums, means and maxima over axes (all by default); reduced axes stay as size 1 unless `keep` is false. */
export const sum = (x: Tensor, axes?: readonly number[], keep = true): Tensor => reduce('ReduceSum', x, axes, keep)
export const mean = (x: Tensor, axes?: readonly number[], keep = true): Tensor => reduce('ReduceMean', x, axes, keep)
export const max = (x: Tensor, axes?: readonly number[], keep = true): Tensor => reduce('ReduceMax', x, axes, keep)

/** exp(x) / Σ exp(x) over the last axis, without overflow. */
export const softmax = (x: Tensor): Tensor => one('Softmax', [x], { axis: x.shape.length - 1 })

/** The k-th largest of each row, (… s) -> (… 1); it has no gradient. @throws RangeError unless 1 ≤ k ≤ s. */
export const kthLargest = (x: Tensor, k: number): Tensor => one('KthLargest', [x], { k })

/** Running sums along an axis; exclusive leaves out the element itself, reverse sums from the end. */
export function cumsum(x: Tensor, axis: number, options: { exclusive?: boolean; reverse?: boolean } = {}): Tensor {
  const { exclusive = false, reverse = false } = options
  return one('CumSum', [x], {
    axis: positiveAxis('cumsum', axis, x.shape.length),
    exclusive: exclusive ? 1 : 0,
    reverse: reverse ? 1 : 0,
  })
}

/** (x − mean) / √(variance + epsilon) · scale + bias over the last axis. */
export function layerNorm(x: Tensor, scale: Tensor, bias: Tensor, epsilon: number): Tensor {
  return x.trace.apply('LayerNormalization', [x, scale, bias], { epsilon })[0]!
}

/** x / √(mean of x² + epsilon) · scale over the last axis (arXiv 1910.07467). */
export const rmsNorm = (x: Tensor, scale: Tensor, epsilon: number): Tensor => one('RmsNorm', [x, scale], { epsilon })

/**
 * Rotary position embedding in the two-halves form (arXiv 2104.09864): (b h l d) and tables (l d/2) or (b 1 l d/2).
 * Each pair (x_i, x_i+d/2) is turned by the angle whose cosine and sine the tables hold.
 */
export const rotate = (x: Tensor, cosine: Tensor, sine: Tensor): Tensor => one('Rotate', [x, cosine, sine])

/** Rows of a table: (v …), ids (…) -> (ids… …). */
export const gather = (table: Tensor, ids: Tensor): Tensor => one('Gather', [table, ids])
/** y[…, j] = x[…, indices[…, j]] along an axis. */
export const gatherElements = (x: Tensor, indices: Tensor, axis: number): Tensor =>
  one('GatherElements', [x, indices], { axis: positiveAxis('gatherElements', axis, x.shape.length) })
/** `x` with `updates` added at `indices` along an axis; repeated indices add up. */
export const scatterAdd = (x: Tensor, indices: Tensor, updates: Tensor, axis: number): Tensor =>
  one('ScatterElements', [x, indices, updates], { axis: positiveAxis('scatterAdd', axis, x.shape.length) })

/** A constant filled with one value, of the dtype of `like`. */
export function filled(like: Tensor, shape: readonly number[], value: number): Tensor {
  return like.trace.constant(arrayOf(like.dtype, shape, () => value))
}

/** A constant of computed elements (by flat index), of the dtype of `like`. */
export function constantLike(like: Tensor, shape: readonly number[], element: (index: number) => number): Tensor {
  return like.trace.constant(arrayOf(like.dtype, shape, element))
}

/** Sums `x` down to a shape it was broadcast from: the gradient of broadcasting. */
export function sumTo(x: Tensor, shape: readonly number[]): Tensor {
  if (same(x.shape, shape)) return x
  const lead = x.shape.length - shape.length
  const rows = sizeOf(x.shape.slice(0, lead))
  const isBias = lead > 0 && rows > 1 && same(x.shape.slice(lead), shape)
  // A product with ones sums over rows about three times faster than ReduceSum on a CPU.
  if (isBias) return reshape(matmul(filled(x, [1, rows], 1), reshape(x, [rows, -1])), shape)
  const axes = x.shape.flatMap((size, i) => (i < lead || (shape[i - lead] === 1 && size !== 1) ? [i] : []))
  return reshape(axes.length ? sum(x, axes) : x, shape)
}

function binary(op: string, a: Operand, b: Operand): Tensor {
  const like = typeof a === 'number' ? b : a
  if (typeof like === 'number') throw new TypeError(`${op}: got two numbers, want at least one tensor`)
  const lift = (operand: Operand) => (typeof operand === 'number' ? filled(like, [], operand) : operand)
  return one(op, [lift(a), lift(b)])
}

function reduce(op: string, x: Tensor, axes: readonly number[] | undefined, keep: boolean): Tensor {
  const rank = x.shape.length
  const positive = (axes ?? x.shape.map((_, i) => i)).map((axis) => positiveAxis(op, axis, rank))
  return one(op, [x], { axes: positive, keep: keep ? 1 : 0 })
}

function one(op: string, inputs: readonly Tensor[], attrs: Attrs = {}): Tensor {
  return inputs[0]!.trace.apply(op, inputs, attrs)[0]!
}

function arrayOf(dtype: DType, shape: readonly number[], element: (index: number) => number): NDArray {
  const make: Partial<Record<DType, (size: number) => Data>> = {
    float32: (size) => new Float32Array(size),
    float64: (size) => new Float64Array(size),
    int32: (size) => new Int32Array(size),
  }
  const data = make[dtype]?.(sizeOf(shape))
  if (!data) throw new TypeError(`constant: got ${dtype}, which is not computed with; cast to float32 first`)
  for (let i = 0; i < data.length; i++) data[i] = element(i)
  return { dtype, shape, data }
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i])
}

function swapLast(rank: number): number[] {
  const axes = Array.from({ length: rank }, (_, i) => i)
  return [...axes.slice(0, -2), rank - 1, rank - 2]
}
