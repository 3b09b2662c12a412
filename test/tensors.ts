/** For tests of traced functions: random arrays, one run of a function, comparison of results. */

import assert from 'node:assert/strict'
import { type NDArray, sizeOf } from '../src/base/array.ts'
import type { Random } from '../src/base/random.ts'
import type { Tensors } from '../src/graph/trace.ts'
import { openDevice } from '../src/node/device.ts'
import { compile } from '../src/runtime/compile.ts'
import type { Arrays } from '../src/runtime/device.ts'

/** One thread: the shapes of tests are too small to share out. */
export const device = await openDevice('cpu', { threads: 1, exact: true })

/** Traces `fn`, runs it once in the dtype of its inputs, and gives back what it opened. */
export async function run(fn: (inputs: Tensors) => Tensors, inputs: Arrays): Promise<Arrays> {
  const compiled = compile(device, fn)
  try {
    return await compiled(inputs)
  } finally {
    await compiled.dispose()
  }
}

/** A float64 array over `data`, which may be nested rows. */
export function doubles(shape: readonly number[], data: readonly unknown[] | Float64Array): NDArray {
  const values = Float64Array.from(data instanceof Float64Array ? data : (data.flat(Infinity) as number[]))
  assert.equal(values.length, sizeOf(shape))
  return { dtype: 'float64', shape, data: values }
}

/** Standard normal numbers times `scale`, in float64. */
export function normals(rng: Random, shape: readonly number[], scale = 1): NDArray {
  return doubles(
    shape,
    Float64Array.from({ length: sizeOf(shape) }, () => scale * rng.normal()),
  )
}

/** The same numbers rounded to float32; integers stay what they are. */
export function singles<T extends Arrays>(arrays: T): { [K in keyof T]: NDArray } {
  const round = (array: NDArray): NDArray =>
    array.dtype === 'int32' ? array : { dtype: 'float32', shape: array.shape, data: Float32Array.from(array.data) }
  return Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, round(array)])) as {
    [K in keyof T]: NDArray
  }
}

/** Positions [start, end) of an axis. */
export function cut({ dtype, shape, data }: NDArray, axis: number, start: number, end: number): NDArray {
  const inner = sizeOf(shape.slice(axis + 1))
  const kept = data.filter((_, i) => {
    const position = Math.floor(i / inner) % shape[axis]!
    return position >= start && position < end
  })
  return { dtype, shape: shape.with(axis, end - start), data: kept }
}

/** Arrays of equal shape but for one axis, put after each other along it. */
export function join(parts: readonly NDArray[], axis: number): NDArray {
  const { dtype, shape } = parts[0]!
  const outer = sizeOf(shape.slice(0, axis))
  const values: number[] = []
  for (let row = 0; row < outer; row++) {
    for (const part of parts) {
      const length = part.data.length / outer
      values.push(...part.data.subarray(row * length, (row + 1) * length))
    }
  }
  const data = dtype === 'float64' ? Float64Array.from(values) : Float32Array.from(values)
  return { dtype, shape: shape.with(axis, data.length / sizeOf(shape.toSpliced(axis, 1))), data }
}

/** Fails unless |got − want| ≤ tolerance · (1 + |want|) everywhere; NaN is near nothing. */
export function near(
  got: NDArray | undefined,
  want: { readonly data: ArrayLike<number> } | undefined,
  tolerance: number,
  what = 'value',
): void {
  assert.ok(got && want, `${what}: there is none`)
  assert.equal(got.data.length, want.data.length, `${what}: number of elements`)
  for (let i = 0; i < got.data.length; i++) {
    const [is, should] = [got.data[i]!, want.data[i]!]
    const fits = Math.abs(is - should) <= tolerance * (1 + Math.abs(should))
    assert.ok(fits, `${what}[${i}] of [${got.shape}]: got ${is}, want ${should}, tolerance ${tolerance}`)
  }
}

/** Σ a b. */
export function dot(a: NDArray, b: NDArray): number {
  return total(Array.from(a.data, (x, i) => x * b.data[i]!))
}

/** The sum of all numbers. */
export function total(numbers: Iterable<number>): number {
  let sum = 0
  for (const number of numbers) sum += number
  return sum
}
