/** Compiles a TypeScript function over tensors: traced once per shape signature, then run by its session. */

import type { NDArray } from '../base/array.ts'
import { toOnnx, usedInputs } from '../graph/onnx.ts'
import { type Tensors, trace } from '../graph/trace.ts'
import type { Arrays, Device, Session } from './device.ts'

/** A function on host arrays that runs as one graph; sessions are kept per shape signature until it is disposed. */
export interface Compiled {
  /**
   * @param into arrays that results are written to in place, by result name.
   * @throws RangeError or TypeError from tracing when shapes do not fit.
   */
  (inputs: Arrays, into?: Arrays): Promise<Arrays>
  /** How many sessions are open: one per shape signature seen. */
  readonly sessions: number
  dispose(): Promise<void>
}

interface Entry {
  readonly session: Session
  readonly wanted: readonly string[]
}

/** Compiles `fn` for a device; see {@link Compiled}. */
export function compile(device: Device, fn: (inputs: Tensors) => Tensors): Compiled {
  const entries = new Map<string, Promise<Entry>>()
  const run = async (inputs: Arrays, into?: Arrays): Promise<Arrays> => {
    const key = signature(inputs)
    let entry = entries.get(key)
    if (!entry) {
      entry = open(device, fn, inputs)
      entries.set(key, entry)
      entry.catch(() => entries.delete(key))
    }
    const { session, wanted } = await entry
    return session.run(Object.fromEntries(wanted.map((name) => [name, inputs[name]!])), into)
  }
  const dispose = async () => {
    const open = [...entries.values()]
    entries.clear()
    for (const entry of open) await (await entry).session.dispose()
  }
  return Object.defineProperty(Object.assign(run, { dispose }), 'sessions', { get: () => entries.size }) as Compiled
}

async function open(device: Device, fn: (inputs: Tensors) => Tensors, inputs: Arrays): Promise<Entry> {
  const graph = trace(fn, inputs)
  return { session: await device.open(toOnnx(graph)), wanted: usedInputs(graph) }
}

function signature(inputs: Readonly<Record<string, NDArray | undefined>>): string {
  return Object.entries(inputs)
    .map(([name, array]) => {
      if (!array) throw new TypeError(`compile: input ${name} is missing; pass an array for it`)
      return `${name}:${array.dtype}[${array.shape}]`
    })
    .join(' ')
}
