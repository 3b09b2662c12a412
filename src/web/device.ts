/** The devices of onnxruntime-web: WebAssembly in every browser, and WebGPU where there is an adapter. */

import type { InferenceSession, Tensor } from 'onnxruntime-web'
import type { Data, DType, NDArray } from '../base/array.ts'
import { toOnnx } from '../graph/onnx.ts'
import { neg } from '../graph/ops.ts'
import { trace } from '../graph/trace.ts'
import type { Arrays, Device, Session } from '../runtime/device.ts'
import { type Engine, type EngineOptions, loadEngine, type ProviderName } from './engine.ts'
import { explained } from './faults.ts'
import { type GpuLoss, gpuLoss, type LosableDevice } from './gpuLoss.ts'
import { gpuCopies, type HeldCopies, hostOnly } from './held.ts'

/** Options of {@link openDevice}. */
export interface DeviceOptions extends EngineOptions {
  /** Whether operators that WebGPU lacks run in WebAssembly, else opening such a graph fails. Default true. */
  readonly fallback?: boolean
}

/** The names that {@link openDevice} knows. */
export const deviceNames = ['wasm', 'webgpu'] as const

/**
 * Opens an execution provider of this browser, in a page or a worker; `run` may hold up whoever calls it, so call it in a
 * worker. Runs of one device wait for each other. Results are new arrays, copied into those that are offered for them.
 * @throws Error when the browser does not have it, with what to do.
 */
export async function openDevice(name: ProviderName = 'wasm', options: DeviceOptions = {}): Promise<Device> {
  if (name === 'webgpu') await checkAdapter()
  const engine = await loadEngine(name, options).catch((error: unknown) => {
    throw explained('openDevice', name, error)
  })
  const settings = settingsOf(name, options)
  const turn = inTurn()
  const loss = gpuLoss()
  let copies: HeldCopies = hostOnly
  const open: Device['open'] = async (model, files = {}) => {
    try {
      const externalData = Object.entries(files).map(([path, data]) => ({ path, data }))
      const creating = turn(() => engine.InferenceSession.create(model, { ...settings, externalData }))
      return wrap(await loss.unless(creating), { engine, name, turn, copies: () => copies, loss })
    } catch (error) {
      throw explained('open', name, error, await loss.reason())
    }
  }
  const first = await probe(open)
  if (name === 'wasm') {
    await first.dispose()
    return { name, open }
  }
  // The engine gives its GPU device up with the last session and takes another for the next: the first one stays open.
  const gpu = await engine.env.webgpu.device
  loss.watch(gpu as GpuDevice)
  copies = gpuCopies(engine, gpu as GpuDevice)
  return { name, open, keep: (arrays) => copies.keep(arrays) }
}

/** What is used of a GPUDevice here. */
type GpuDevice = Parameters<typeof gpuCopies>[1] & LosableDevice

/** @throws Error that says why there is no WebGPU. */
async function checkAdapter(): Promise<void> {
  const gpu = (globalThis.navigator as { gpu?: { requestAdapter(): Promise<unknown> } } | undefined)?.gpu
  const advice = 'choose WebAssembly, or a browser and graphics driver with WebGPU'
  if (!gpu) {
    const why = globalThis.isSecureContext
      ? 'this browser has no WebGPU'
      : 'the page was not opened over https or localhost'
    throw new Error(`openDevice: webgpu is not to be had: ${why}; ${advice}`)
  }
  if (!(await gpu.requestAdapter())) {
    throw new Error(`openDevice: webgpu is not to be had: the browser gives out no graphics adapter; ${advice}`)
  }
}

function settingsOf(name: ProviderName, { fallback = true }: DeviceOptions): InferenceSession.SessionOptions {
  return {
    executionProviders: [name],
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    // Saves a third of the memory at equal speed.
    enableMemPattern: false,
    extra: {
      session: {
        // Threads that wait by spinning take the cores of the page and of other workers.
        intra_op: { allow_spinning: '0' },
        ...(!fallback && name !== 'wasm' && { disable_cpu_ep_fallback: '1' }),
      },
    },
  }
}

/** Opens and runs a graph of one node, so that what is missing is one line now and not a failure later. */
async function probe(open: Device['open']): Promise<Session> {
  const graph = trace(({ x }) => ({ y: neg(x!) }), { x: { dtype: 'float32', shape: [1] } })
  const session = await open(toOnnx(graph))
  await session.run({ x: { dtype: 'float32', shape: [1], data: Float32Array.of(1) } })
  return session
}

/** Runs one thing after the other: WebAssembly that waits for a GPU must not be entered again. */
type Turn = <T>(run: () => Promise<T>) => Promise<T>

function inTurn(): Turn {
  let last: Promise<unknown> = Promise.resolve()
  return (run) => {
    const next = last.then(run, run)
    last = next
    return next
  }
}

interface Setting {
  readonly engine: Engine
  readonly name: ProviderName
  readonly turn: Turn
  readonly copies: () => HeldCopies
  readonly loss: GpuLoss
}

function wrap(session: InferenceSession, { engine, name, turn, copies, loss }: Setting): Session {
  let open = true
  const toTensor = ({ dtype, data, shape }: NDArray): Tensor =>
    new engine.Tensor(dtype as 'float32', data as Float32Array, shape)
  return {
    async run(inputs, into = {}) {
      for (const info of session.outputMetadata) if (into[info.name]) checkOffered(into[info.name]!, info)
      const held = copies()
      const feeds = Object.fromEntries(
        Object.entries(inputs).map(([input, array]) => [input, held.tensorOf(array) ?? toTensor(array)]),
      )
      try {
        // No arrays are offered to the engine: in WebAssembly it does not write to them, and says nothing.
        const found = await loss.unless(turn(() => session.run(feeds)))
        return Object.fromEntries(session.outputNames.map((output) => [output, received(found[output]!, into[output])]))
      } catch (error) {
        throw explained('run', name, error, await loss.reason())
      }
    },
    async dispose() {
      if (!open) return
      open = false
      await turn(() => session.release())
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

function received(tensor: Tensor, offered: Arrays[string] | undefined): NDArray {
  const data = tensor.data as Data
  if (!offered) return { dtype: tensor.type as DType, shape: tensor.dims, data }
  offered.data.set(data)
  return offered
}
