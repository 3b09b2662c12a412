/** The devices of onnxruntime-node: the CPU provider, and WebGPU where the machine has an adapter. */

import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { Data, DType, NDArray } from '../base/array.ts'
import { toOnnx } from '../graph/onnx.ts'
import { neg } from '../graph/ops.ts'
import { trace } from '../graph/trace.ts'
import type { Arrays, Device, Session } from '../runtime/device.ts'

/** Options of {@link openDevice}. */
export interface DeviceOptions {
  /** Threads inside one operator; default: as many as the engine finds cores. */
  readonly threads?: number
  /** Whether operators that WebGPU lacks run on the CPU, else opening such a graph fails. Default true. */
  readonly fallback?: boolean
  /**
   * Whether constants of float64 graphs keep their precision: the engine else merges factors into products as float32.
   * Default false.
   */
  readonly exact?: boolean
  /**
   * Whether the engine prepares a graph for speed. Without it a model file is opened at once, and its weights stay in the file
   * until they are used. Default true.
   */
  readonly optimized?: boolean
}

/** The names that {@link openDevice} knows. */
export const deviceNames = ['cpu', 'webgpu'] as const

/** A name that {@link openDevice} knows. */
export type DeviceName = (typeof deviceNames)[number]

/**
 * Opens an execution provider. On each, results are written into the arrays that are offered for them, also where such
 * an array is an input of the same run: that is right when the result is computed element by element from that input,
 * or is a product added to it, and nothing else reads it.
 * @throws Error when the machine does not have it, with the engine's reason.
 */
export async function openDevice(name: DeviceName = 'cpu', options: DeviceOptions = {}): Promise<Device> {
  const sessionOptions = sessionOptionsOf(name, options)
  const open: Device['open'] = async (model, files = {}) => {
    const externalData = Object.entries(files).map(([path, data]) => ({ path, data }))
    const session = await InferenceSession.create(model, {
      ...sessionOptions,
      ...(externalData.length > 0 && { externalData }),
    })
    return wrap(session, name === 'cpu')
  }
  if (name !== 'cpu') await probe(name, open)
  return { name, open }
}

/**
 * Opens a model file, e.g. of an export, with the files of weights that it names beside it.
 * @throws Error with the engine's reason when it is not accepted.
 */
export async function openModelFile(
  path: string,
  name: DeviceName = 'cpu',
  options: DeviceOptions = {},
): Promise<Session> {
  return wrap(await InferenceSession.create(path, sessionOptionsOf(name, options)), name === 'cpu')
}

function sessionOptionsOf(
  name: DeviceName,
  { threads, fallback = true, exact = false, optimized = true }: DeviceOptions,
) {
  return {
    // No preferredOutputLocation: results on the GPU would ignore the arrays offered for them without a word, and
    // memory stays bounded only where something is read back in each run.
    executionProviders: [name],
    graphOptimizationLevel: optimized ? 'all' : 'disabled',
    executionMode: 'sequential',
    logSeverityLevel: 3,
    enableCpuMemArena: true,
    // Saves a third of the memory at equal speed.
    enableMemPattern: false,
    extra: {
      session: {
        // Without it the threads of several live sessions spin against each other: eight times slower.
        force_spinning_stop: '1',
        ...(!fallback && name !== 'cpu' && { disable_cpu_ep_fallback: '1' }),
      },
      ...(exact && { optimization: { disable_specified_optimizers: 'MatMulScaleFusion' } }),
    },
    ...(threads !== undefined && { intraOpNumThreads: threads }),
  } as const satisfies InferenceSession.SessionOptions
}

/** Opens a graph of one node, so that a missing adapter is one line now and not a failure later. */
async function probe(name: DeviceName, open: Device['open']): Promise<void> {
  const graph = trace(({ x }) => ({ y: neg(x!) }), { x: { dtype: 'float32', shape: [1] } })
  try {
    await (await open(toOnnx(graph))).dispose()
  } catch (error) {
    // The engine puts the failed condition and its place in the source before the reason.
    const reason = (error as Error).message.replace(/^.* was false\. /s, '').trim()
    const advice = 'use the device cpu, or install a graphics driver (on Linux, one for Vulkan)'
    throw new Error(`openDevice: ${name} is not to be had on this machine (${reason}); ${advice}`, { cause: error })
  }
}

/** @param writesInPlace whether results are always in the arrays offered for them, so that what the engine returns is a copy */
function wrap(session: InferenceSession, writesInPlace: boolean): Session {
  let open = true
  const types = new Map(session.inputMetadata.map((info) => [info.name, info.isTensor ? info.type : undefined]))
  return {
    async run(inputs, into = {}) {
      for (const info of session.outputMetadata) if (into[info.name]) checkOffered(into[info.name]!, info)
      const feeds: Record<string, Tensor> = {}
      for (const name of Object.keys(inputs)) feeds[name] = toTensor(inputs[name]!, types.get(name))
      const fetches = Object.fromEntries(
        session.outputNames.map((name) => [name, into[name] ? toTensor(into[name]) : null]),
      )
      const found = await session.run(feeds, fetches)
      return Object.fromEntries(
        session.outputNames.map((name) => {
          const offered = into[name]
          return [name, offered && writesInPlace ? offered : received(found[name]!, offered)]
        }),
      )
    },
    async dispose() {
      if (!open) return
      open = false
      await session.release()
    },
  }
}

/** @throws RangeError or TypeError unless the array is of the result's shape and dtype. */
function checkOffered({ dtype, shape }: NDArray, info: InferenceSession.ValueMetadata): void {
  if (!info.isTensor) return
  const { name } = info
  if (info.type !== dtype) throw new TypeError(`run: ${name}: got an array of ${dtype} to write to, want ${info.type}`)
  if (shape.length !== info.shape.length || shape.some((size, axis) => size !== info.shape[axis])) {
    throw new RangeError(`run: ${name}: got an array [${shape}] to write to, want [${info.shape}]`)
  }
}

/** The engine's handles of arrays that were given before: a step of a model takes hundreds that stay the same. */
const handles = new WeakMap<NDArray, Tensor>()

/** @param wanted int64 where a model made for others takes such numbers; hedgehog has them as int32. */
function toTensor(array: NDArray, wanted?: string): Tensor {
  const { dtype, data, shape } = array
  if (wanted === 'int64' && dtype === 'int32') return new Tensor('int64', BigInt64Array.from(data, BigInt), shape)
  const known = handles.get(array)
  if (known) return known
  const handle = new Tensor(dtype as 'float32', data as Float32Array, shape)
  handles.set(array, handle)
  return handle
}

/** The result as an array; copied where the engine did not write into the array that was offered. */
function received(tensor: Tensor, offered: Arrays[string] | undefined): NDArray {
  const data = tensor.data as Data
  if (!offered) return { dtype: tensor.type as DType, shape: tensor.dims, data }
  if (data.buffer !== offered.data.buffer || data.byteOffset !== offered.data.byteOffset) offered.data.set(data)
  return offered
}
