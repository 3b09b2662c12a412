/** The devices of onnxruntime-node: the CPU provider, and WebGPU where the machine has an adapter. */

import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { Data, DType, NDArray } from '../base/array.ts'
import type { Arrays, Device, Session } from '../runtime/device.ts'

/** Options of {@link openDevice}. */
export interface DeviceOptions {
  /** Threads inside one operator; default: as many as the engine finds cores. */
  readonly threads?: number
}

/** The names that {@link openDevice} knows. */
export const deviceNames = ['cpu', 'webgpu'] as const

/**
 * Opens an execution provider.
 * @throws Error when the machine does not have it, with the engine's reason.
 */
export async function openDevice(
  name: (typeof deviceNames)[number] = 'cpu',
  options: DeviceOptions = {},
): Promise<Device> {
  const sessionOptions: InferenceSession.SessionOptions = {
    executionProviders: [name],
    graphOptimizationLevel: 'all',
    executionMode: 'sequential',
    logSeverityLevel: 3,
    enableCpuMemArena: true,
    // Saves a third of the memory at equal speed.
    enableMemPattern: false,
    // Without it the threads of several live sessions spin against each other: eight times slower.
    extra: { session: { force_spinning_stop: '1' } },
    ...(options.threads !== undefined && { intraOpNumThreads: options.threads }),
  }
  return { name, open: async (model) => wrap(await InferenceSession.create(model, sessionOptions)) }
}

function wrap(session: InferenceSession): Session {
  let open = true
  return {
    async run(inputs, into = {}) {
      const feeds = Object.fromEntries(Object.entries(inputs).map(([name, array]) => [name, toTensor(array)]))
      const fetches = Object.fromEntries(
        session.outputNames.map((name) => [name, into[name] ? toTensor(into[name]) : null]),
      )
      const results = await session.run(feeds, fetches)
      return Object.fromEntries(session.outputNames.map((name) => [name, received(results[name]!, into[name])]))
    },
    async dispose() {
      if (open) await session.release()
      open = false
    },
  }
}

function toTensor({ dtype, data, shape }: NDArray): Tensor {
  return new Tensor(dtype as 'float32', data as Float32Array, shape)
}

/** The result as an array; copied where the engine did not write into the array that was offered. */
function received(tensor: Tensor, offered: Arrays[string] | undefined): NDArray {
  const data = tensor.data as Data
  if (!offered) return { dtype: tensor.type as DType, shape: tensor.dims, data }
  if (data.buffer !== offered.data.buffer || data.byteOffset !== offered.data.byteOffset) offered.data.set(data)
  return offered
}
