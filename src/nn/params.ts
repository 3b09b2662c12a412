/** Descriptions of parameters: shape and initial value, by path; layers give them, models join them. */

import { type FloatArray, floats, type Params, sizeOf } from '../base/array.ts'
import type { Random } from '../base/random.ts'

/** How a parameter begins. `identity` is a unit matrix in the last two axes, repeated over the others. */
export type Initial = { readonly normal: number } | { readonly value: number } | 'zeros' | 'ones' | 'identity'

/** One parameter: its shape and how it begins. */
export interface ParamSpec {
  readonly shape: readonly number[]
  readonly initial: Initial
  /** Of the weight of a linear layer: the axis of its inputs. Low-rank adapters find the layers they change by it. */
  readonly inputAxis?: 0 | 1
}

/** Parameters by path. */
export type ParamSpecs = Readonly<Record<string, ParamSpec>>

/** The specs with a prefix before each path. */
export function prefixed<T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([path, value]) => [prefix + path, value]))
}

/** The entries below a prefix, by the rest of their path. */
export function below<T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(record).flatMap(([path, value]) =>
      path.startsWith(prefix) ? [[path.slice(prefix.length), value]] : [],
    ),
  )
}

/** Initial values; each depends on the seed and its own path alone, so adding a parameter changes no other. */
export function initialise(specs: ParamSpecs, rng: Random): Params {
  return Object.fromEntries(Object.entries(specs).map(([path, spec]) => [path, initialValue(spec, rng.split(path))]))
}

/** How many numbers the parameters hold. */
export function countParams(record: Readonly<Record<string, { readonly shape: readonly number[] }>>): number {
  return Object.values(record).reduce((total, { shape }) => total + sizeOf(shape), 0)
}

function initialValue({ shape, initial }: ParamSpec, rng: Random): FloatArray {
  const array = floats(shape)
  if (initial === 'ones') array.data.fill(1)
  else if (initial === 'identity') fillIdentity(array)
  else if (initial === 'zeros') return array
  else if ('value' in initial) array.data.fill(initial.value)
  else for (let i = 0; i < array.data.length; i++) array.data[i] = initial.normal * rng.normal()
  return array
}

function fillIdentity({ shape, data }: FloatArray): void {
  const [rows, columns] = [shape.at(-2)!, shape.at(-1)!]
  for (let i = 0; i < data.length; i++) {
    const cell = i % (rows * columns)
    data[i] = Math.floor(cell / columns) === cell % columns ? 1 : 0
  }
}
