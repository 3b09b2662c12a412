/** Copies on the GPU of arrays that are kept: weights go there once instead of with each run. */

import type { Tensor } from 'onnxruntime-web'
import type { Data, NDArray } from '../base/array.ts'
import type { Engine } from './engine.ts'

/** Arrays that a device holds copies of. */
export interface HeldCopies {
  /** See `Device.keep`. */
  keep(arrays: Iterable<NDArray>): () => void
  /** The copy of an array as a tensor, undefined for one that is not kept. */
  tensorOf(array: NDArray): Tensor | undefined
}

/** Where everything is read from the host. */
export const hostOnly: HeldCopies = { keep: () => () => {}, tensorOf: () => undefined }

/** What is used of a GPUDevice. */
interface Gpu {
  createBuffer(options: { size: number; usage: number }): GpuBuffer
  readonly queue: { writeBuffer(buffer: GpuBuffer, offset: number, data: Data): void }
  readonly limits: { readonly maxStorageBufferBindingSize: number }
}

interface GpuBuffer {
  destroy(): void
}

interface Held {
  holders: number
  buffer?: GpuBuffer
}

// GPUBufferUsage: STORAGE, COPY_SRC and COPY_DST, by the numbers of the WebGPU standard.
const usage = 0x80 | 0x04 | 0x08

/** Copies in buffers of the engine's GPU, each made when it is first used, and freed with its last holder. */
export function gpuCopies(engine: Engine, gpu: Gpu): HeldCopies {
  const held = new Map<Data, Held>()
  const release = (data: Data) => {
    const found = held.get(data)
    if (!found || --found.holders > 0) return
    held.delete(data)
    found.buffer?.destroy()
  }
  return {
    keep(arrays) {
      const own = [...new Set([...arrays].map(({ data }) => data))].filter(
        ({ byteLength }) => byteLength > 0 && byteLength <= gpu.limits.maxStorageBufferBindingSize,
      )
      for (const data of own) held.set(data, { ...held.get(data), holders: (held.get(data)?.holders ?? 0) + 1 })
      return () => {
        for (const data of own.splice(0)) release(data)
      }
    },
    tensorOf({ data, dtype, shape }) {
      const found = held.get(data)
      if (!found) return undefined
      found.buffer ??= uploaded(gpu, data)
      const options = { dataType: dtype as 'float32', dims: shape }
      return engine.Tensor.fromGpuBuffer(found.buffer as Parameters<typeof engine.Tensor.fromGpuBuffer>[0], options)
    },
  }
}

function uploaded(gpu: Gpu, data: Data): GpuBuffer {
  // The engine binds buffers in multiples of 16 bytes.
  const buffer = gpu.createBuffer({ size: Math.ceil(data.byteLength / 16) * 16, usage })
  gpu.queue.writeBuffer(buffer, 0, data)
  return buffer
}
