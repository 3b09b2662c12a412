/** One block of host memory for parameters, gradients and moments, with the SIMD kernels that work inside of it. */

import { type FloatArray, type NDArray, sizeOf } from '../base/array.ts'
import { checkRows, checkSizes, type Kernels, plainKernels } from './kernels.ts'
import { kernelsBase64 } from './kernels.wasm.ts'

/**
 * Float arrays in one WebAssembly memory. onnxruntime-node reads and writes them without a copy, and the kernels run
 * as SIMD when every array of a call lies in this memory, else as {@link plainKernels} to the same result within
 * float32 rounding.
 */
export interface HostMemory extends Kernels {
  /** What all arrays of this memory are views of. */
  readonly buffer: ArrayBuffer
  /** Floats that can be allocated in all, each array rounded up to a multiple of 16. */
  readonly capacity: number
  /** Floats allocated so far, rounded the same way. */
  used(): number
  /**
   * An array of zeros, at an offset that is a multiple of 64 bytes. It lives as long as the memory.
   * @throws RangeError when the memory has too little room left, or the shape is not of whole numbers.
   */
  allocate(shape: readonly number[]): FloatArray
  /** Whether an array lies in this memory. */
  owns(array: NDArray): boolean
}

const pageBytes = 65536
const alignedFloats = 16
// The first page holds copies of ids for the row kernels.
const reservedBytes = pageBytes
const idsPerCopy = reservedBytes / 4

/** The most floats that one memory can hold: 4 GiB less the page that the kernels use themselves. */
export const maxMemoryFloats = (2 ** 32 - reservedBytes) / 4

/** The floats that arrays of the given shapes take in a memory, their alignment included. */
export function floatsFor(shapes: Iterable<readonly number[]>): number {
  let total = 0
  for (const shape of shapes) total += aligned(sizeOf(shape))
  return total
}

/**
 * A memory with room for `floats` float32 values, of its final size from the start: views of it stay valid. Pages are
 * taken from the system as they are first written.
 * @param floats 1 to {@link maxMemoryFloats} (4 GiB); {@link floatsFor} counts them.
 * @throws RangeError when that is outside of the range, or the system does not have the memory.
 */
export function createMemory(floats: number): HostMemory {
  if (!Number.isInteger(floats) || floats < 1 || floats > maxMemoryFloats) {
    throw new RangeError(
      `createMemory: got ${floats} floats, want a whole number from 1 to ${maxMemoryFloats} (4 GiB); ` +
        'spread a larger model over several memories',
    )
  }
  const capacity = aligned(floats)
  const pages = Math.ceil((reservedBytes + capacity * 4) / pageBytes)
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
  const buffer = memory.buffer as ArrayBuffer
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(decodeBase64(kernelsBase64)), {
    host: { memory },
  })
  const owns = (array: NDArray) => array.data.buffer === buffer
  let used = 0
  return {
    buffer,
    capacity,
    used: () => used,
    owns,
    allocate(shape) {
      const size = sizeOf(shape)
      if (!shape.every((length) => Number.isInteger(length) && length >= 0)) {
        throw new RangeError(`allocate: got shape [${shape}], want whole numbers from 0`)
      }
      if (used + aligned(size) > capacity) {
        throw new RangeError(
          `allocate: got shape [${shape}], want at most the ${capacity - used} floats left of ${capacity}; ` +
            'create the memory with floatsFor(shapes)',
        )
      }
      const data = new Float32Array(buffer, reservedBytes + used * 4, size)
      used += aligned(size)
      return { dtype: 'float32', shape: [...shape], data }
    },
    ...memoryKernels(exports as unknown as KernelExports, new Int32Array(buffer, 0, idsPerCopy), owns),
  }
}

/** What kernels.wat exports: byte offsets, numbers of elements, numbers. */
interface KernelExports {
  adamw(p: number, g: number, m: number, v: number, n: number, ...numbers: number[]): void
  sumSquares(g: number, n: number): number
  add(into: number, from: number, n: number): void
  scale(into: number, n: number, factor: number): void
  fill(into: number, n: number, value: number): void
  addRows(table: number, rows: number, ids: number, count: number, width: number): void
  gatherRows(out: number, table: number, ids: number, count: number, width: number): void
}

function memoryKernels(wasm: KernelExports, scratch: Int32Array, owns: (array: NDArray) => boolean): Kernels {
  const allOwned = (...arrays: readonly FloatArray[]) => arrays.every(owns)
  /** Calls a row kernel on runs of ids that fit the scratch page: with the first row, their offset, their number. */
  const forIds = (ids: NDArray, call: (start: number, offset: number, count: number) => void) => {
    for (let start = 0; start < ids.data.length; start += idsPerCopy) {
      const run = ids.data.subarray(start, start + idsPerCopy)
      scratch.set(run)
      call(start, scratch.byteOffset, run.length)
    }
  }
  return {
    adamw(parameter, gradient, m, v, numbers) {
      if (!allOwned(parameter, gradient, m, v)) return plainKernels.adamw(parameter, gradient, m, v, numbers)
      checkSizes('adamw', parameter, gradient, m, v)
      const { learningRate, beta1, beta2, epsilon, weightDecay, correction1, correction2, gradScale } = numbers
      const factors = [learningRate, beta1, beta2, epsilon, weightDecay, correction1, correction2, gradScale]
      wasm.adamw(at(parameter), at(gradient), at(m), at(v), parameter.data.length, ...factors)
    },
    sumSquares: (array) =>
      owns(array) ? wasm.sumSquares(at(array), array.data.length) : plainKernels.sumSquares(array),
    add(into, from) {
      if (!allOwned(into, from)) return plainKernels.add(into, from)
      checkSizes('add', into, from)
      wasm.add(at(into), at(from), into.data.length)
    },
    scale(into, factor) {
      if (!owns(into)) return plainKernels.scale(into, factor)
      wasm.scale(at(into), into.data.length, factor)
    },
    fill(into, value) {
      if (!owns(into)) return plainKernels.fill(into, value)
      wasm.fill(at(into), into.data.length, value)
    },
    addRows(table, rows, ids) {
      if (!allOwned(table, rows)) return plainKernels.addRows(table, rows, ids)
      const { width } = checkRows('addRows', table, rows, ids)
      forIds(ids, (start, offset, count) => wasm.addRows(at(table), at(rows) + start * width * 4, offset, count, width))
    },
    gatherRows(out, table, ids) {
      if (!allOwned(out, table)) return plainKernels.gatherRows(out, table, ids)
      const { width } = checkRows('gatherRows', table, out, ids)
      forIds(ids, (start, offset, count) =>
        wasm.gatherRows(at(out) + start * width * 4, at(table), offset, count, width),
      )
    },
  }
}

function at(array: FloatArray): number {
  return array.data.byteOffset
}

function aligned(floats: number): number {
  return Math.ceil(floats / alignedFloats) * alignedFloats
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
}
