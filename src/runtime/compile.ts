/** Compiles a TypeScript function over tensors: traced once per shape signature, then run by its session. */

import type { NDArray } from '../base/array.ts'
import { toOnnx, usedInputs } from '../graph/onnx.ts'
import type { TraceOptions } from '../graph/tensor.ts'
import { type Tensors, trace } from '../graph/trace.ts'
import type { Arrays, Device } from './device.ts'

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

/** A function on arrays of the shapes that it was opened with. */
export interface Opened {
  /** As {@link Compiled}; inputs of other shapes are the caller's mistake, and the engine's error. */
  run(inputs: Arrays, into?: Arrays): Promise<Arrays>
  dispose(): Promise<void>
}

/** Compiles `fn` for a device; see {@link Compiled}. */
export function compile(device: Device, fn: (inputs: Tensors) => Tensors, options?: TraceOptions): Compiled {
  const entries = new Map<string, Promise<Opened>>()
  const run = async (inputs: Arrays, into?: Arrays): Promise<Arrays> => {
    const key = signature(inputs)
    let entry = entries.get(key)
    if (!entry) {
      entry = openFunction(device, fn, inputs, options)
      entries.set(key, entry)
      entry.catch(() => entries.delete(key))
    }
    return (await entry).run(inputs, into)
  }
  const dispose = async () => {
    const open = [...entries.values()]
    entries.clear()
    for (const entry of open) await (await entry).dispose()
  }
  return Object.defineProperty(Object.assign(run, { dispose }), 'sessions', { get: () => entries.size }) as Compiled
}

/** Opens `fn` for the shapes of some inputs. @throws RangeError or TypeError from tracing when they do not fit. */
export async function openFunction(
  device: Device,
  fn: (inputs: Tensors) => Tensors,
  inputs: Arrays,
  options?: TraceOptions,
): Promise<Opened> {
  const graph = trace(fn, inputs, options)
  const wanted = usedInputs(graph)
  const session = await device.open(toOnnx(graph))
  return {
    run: (given, into) => session.run(picked(given, wanted), into),
    dispose: session.dispose,
  }
}

/** A loop, since a step of a model picks hundreds. */
function picked(given: Arrays, names: readonly string[]): Arrays {
  const inputs: Record<string, NDArray> = {}
  for (const name of names) inputs[name] = given[name]!
  return inputs
}

function signature(inputs: Readonly<Record<string, NDArray | undefined>>): string {
  // In whatever order they are given.
  return Object.keys(inputs)
    .sort()
    .map((name) => {
      const array = inputs[name]
      if (!array) throw new TypeError(`compile: input ${name} is missing; pass an array for it`)
      return `${name}:${array.dtype}[${array.shape}]`
    })
    .join(' ')
}
