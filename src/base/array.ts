/** Arrays on the host: a dtype, a shape and a flat typed array, row-major. */

/**
 * `float64` is for tests and references: every float graph can be traced in it, on the CPU. `float16` is for weights as
 * they are stored, as words: a graph casts them before it computes.
 */
export type DType = 'float32' | 'float64' | 'float16' | 'int32'

/** The typed arrays that hold a {@link DType}. */
export type Data = Float32Array | Float64Array | Uint16Array | Int32Array

/** A row-major array in host memory; `data.length` is the product of `shape`. */
export interface NDArray {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: Data
}

/** A float32 {@link NDArray}. */
export interface FloatArray extends NDArray {
  readonly dtype: 'float32'
  readonly data: Float32Array
}

/** Model parameters by the path they have in a checkpoint, e.g. `h.0.attn.c_attn.weight`. */
export type Params = Readonly<Record<string, FloatArray>>

/** The number of elements of a shape: the product of its sizes, 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/**
 * A float32 array of the given shape, over `data` where given, else zeros.
 * @throws RangeError when `data` does not have the shape's number of elements.
 */
export function floats(shape: readonly number[], data?: Float32Array | readonly number[]): FloatArray {
  const values = data instanceof Float32Array ? data : data ? Float32Array.from(data) : new Float32Array(sizeOf(shape))
  checkLength('floats', shape, values.length)
  return { dtype: 'float32', shape, data: values }
}

/** An int32 array of the given shape, over `data` where given, else zeros. @throws RangeError as {@link floats}. */
export function ints(shape: readonly number[], data?: Int32Array | readonly number[]): NDArray {
  const values = data instanceof Int32Array ? data : data ? Int32Array.from(data) : new Int32Array(sizeOf(shape))
  checkLength('ints', shape, values.length)
  return { dtype: 'int32', shape, data: values }
}

/** Gives an array's memory back, whoever still holds the array: it has no elements then. A view of a part stays as it is. */
export function emptied({ data }: NDArray): void {
  const { buffer } = data
  if (data.byteLength === buffer.byteLength) structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
}

/** The transpose of a matrix: (i o) -> (o i). */
export function transposed({ shape, data }: FloatArray): FloatArray {
  const [rows, columns] = shape as readonly [number, number]
  const result = new Float32Array(data.length)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j]!
  return floats([columns, rows], result)
}

function checkLength(where: string, shape: readonly number[], length: number): void {
  if (length !== sizeOf(shape)) {
    throw new RangeError(`${where}: got ${length} values for shape [${shape}], want ${sizeOf(shape)}`)
  }
}
