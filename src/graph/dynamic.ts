/** Graphs whose sizes are known only when they run: a function is traced at several sizes, and what differs depends on them. */

import type { DType, NDArray } from '../base/array.ts'
import { fittedSize, type Size } from './size.ts'
import type { Attrs, Graph, GraphValue, Node } from './tensor.ts'
import { type Tensors, trace } from './trace.ts'

/** An input of {@link traceDynamic}: a size is a number, a name such as `batch`, or a sum of names, `past + sequence`. */
export interface DynamicInput {
  readonly dtype: DType
  readonly shape: readonly (number | string)[]
}

/** How often a function is traced: a coincidence would have to happen at all of these sizes. */
const samples = 3

/**
 * The graph of `fn` for any sizes: names in shapes stand for them, and each name must be the whole size of some axis.
 * The function may use sizes in shapes, slices, padding and constants of one value, but must do the same at every size:
 * it may not count on to them, as in a loop over positions or a table by position (sums along ones give positions).
 * @throws RangeError when a number depends on sizes other than as a product or a sum of them, or a constant does.
 */
export function traceDynamic(fn: (inputs: Tensors) => Tensors, inputs: Readonly<Record<string, DynamicInput>>): Graph {
  const names = sizeNames(inputs)
  const known = samplesOf(names, inputs)
  const traces = known.map((sizes) =>
    trace(fn, Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, concrete(input, sizes)]))),
  )
  return united(traces, known)
}

function sizeNames(inputs: Readonly<Record<string, DynamicInput>>): string[] {
  const sizes = Object.values(inputs).flatMap(({ shape }) => shape.filter((size) => typeof size === 'string'))
  const names = [...new Set(sizes.flatMap(parts))]
  const unknown = names.find((name) => !sizes.includes(name))
  if (unknown === undefined) return names
  throw new RangeError(`traceDynamic: the size ${unknown} is no axis of an input, only a part of one`)
}

const parts = (size: string): string[] => size.split('+').map((part) => part.trim())

/**
 * Different primes for every name, none of them a size of an input, and growing by other steps: so no product of some and
 * no sum is another's at every sample.
 */
function samplesOf(names: readonly string[], inputs: Readonly<Record<string, DynamicInput>>) {
  const taken = new Set(Object.values(inputs).flatMap(({ shape }) => shape))
  const primeFrom = (least: number): number => {
    let n = least | 1
    while (!isPrime(n) || taken.has(n)) n += 2
    taken.add(n)
    return n
  }
  return Array.from({ length: samples }, (_, i) =>
    Object.fromEntries(names.map((name, j) => [name, primeFrom(67 + 20 * i * 2 ** j)])),
  )
}

function isPrime(n: number): boolean {
  for (let d = 3; d * d <= n; d += 2) if (n % d === 0) return false
  return true
}

function concrete({ dtype, shape }: DynamicInput, sizes: Readonly<Record<string, number>>) {
  const value = (size: number | string) =>
    typeof size === 'number' ? size : parts(size).reduce((sum, name) => sum + sizes[name]!, 0)
  return { dtype, shape: shape.map(value) }
}

/** One graph of traces that differ in nothing but numbers. */
function united(traces: readonly Graph[], known: readonly Readonly<Record<string, number>>[]): Graph {
  const [first, ...others] = traces as [Graph, ...Graph[]]
  const same = others.every(
    (other) =>
      other.values.length === first.values.length &&
      other.nodes.length === first.nodes.length &&
      other.nodes.every(
        ({ op, inputs }, i) => op === first.nodes[i]!.op && `${inputs}` === `${first.nodes[i]!.inputs}`,
      ),
  )
  if (!same) throw new RangeError('traceDynamic: the function does other things at other sizes')
  const sizes = new Map<number, Size>()
  const codes = new Map<string, number>()
  const unite = (where: string, values: readonly number[]): number => {
    const size = fittedSize(values, known)
    if (size === undefined) {
      const at = known.map((one, i) => `${values[i]} at ${JSON.stringify(one)}`).join(', ')
      throw new RangeError(`traceDynamic: ${where}: got ${at}, want a product or a sum of sizes`)
    }
    if (typeof size === 'number') return size
    const key = JSON.stringify(size)
    const code = codes.get(key) ?? firstCode - codes.size
    codes.set(key, code)
    sizes.set(code, size)
    return code
  }
  const shapeOf = (where: string, shapes: readonly (readonly number[])[]) =>
    shapes[0]!.map((_, axis) =>
      unite(
        where,
        shapes.map((shape) => shape[axis]!),
      ),
    )
  const read = new Set([
    ...[...Object.values(first.inputs), ...Object.values(first.outputs)],
    ...first.nodes.flatMap((node) => [...node.inputs, ...node.outputs]),
  ])
  const values: GraphValue[] = first.values.map(({ dtype }, id) => {
    const shapes = traces.map((one) => one.values[id]!.shape)
    return { dtype, shape: read.has(id) ? shapeOf(`a value [${shapes[0]}]`, shapes) : shapes[0]! }
  })
  const nodes = first.nodes.map((node, i): Node => {
    const attrs = traces.map((one) => one.nodes[i]!.attrs)
    return { ...node, attrs: unitedAttrs(node.op, attrs, unite) }
  })
  const constants = new Map<number, NDArray>()
  const filled: Node[] = []
  for (const id of first.constants.keys()) {
    const found = traces.map((one) => one.constants.get(id)!)
    if (!read.has(id)) continue
    if (found.every((one) => equal(one, found[0]!))) constants.set(id, found[0]!)
    else {
      values.push({ dtype: found[0]!.dtype, shape: found[0]!.shape.map(() => 1) })
      constants.set(values.length - 1, uniform(found))
      filled.push({ op: 'Expand', inputs: [values.length - 1], outputs: [id], attrs: { shape: values[id]!.shape } })
    }
  }
  const { inputs, outputs } = first
  return { values, nodes: [...filled, ...nodes], constants, inputs, outputs, sizes }
}

/** Numbers from here downwards stand for sizes: no attribute is ever as small. */
const firstCode = -(2 ** 40)

function unitedAttrs(op: string, all: readonly Attrs[], unite: (where: string, values: readonly number[]) => number) {
  return Object.fromEntries(
    Object.entries(all[0]!).map(([name, value]) => {
      const where = `${op}: ${name}`
      if (typeof value === 'number')
        return [
          name,
          unite(
            where,
            all.map((attrs) => attrs[name] as number),
          ),
        ]
      if (typeof value === 'string') return [name, value]
      return [
        name,
        value.map((_, i) =>
          unite(
            where,
            all.map((attrs) => (attrs[name] as readonly number[])[i]!),
          ),
        ),
      ]
    }),
  )
}

function equal(a: NDArray, b: NDArray): boolean {
  return `${a.shape}` === `${b.shape}` && a.data.every((value, i) => Object.is(value, b.data[i]))
}

/** The one value that constants of different shapes are filled with. */
function uniform(found: readonly NDArray[]): NDArray {
  const { dtype, shape, data } = found[0]!
  const value = data[0] ?? 0
  if (found.some((one) => one.data.some((other) => !Object.is(other, value)))) {
    throw new RangeError(
      `traceDynamic: a constant [${shape}] depends on sizes by its values; compute it in the graph, e.g. positions ` +
        'by a cumulative sum of ones',
    )
  }
  const one = data.slice(0, 0).constructor as new (values: readonly number[]) => NDArray['data']
  return { dtype, shape: shape.map(() => 1), data: new one([value]) }
}
