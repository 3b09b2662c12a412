/** Sizes that are known only when a graph runs, as ONNX nodes over the shapes of its inputs. */

import type { OnnxAttribute } from './operator.ts'
import { type Size, sizeText } from './size.ts'
import type { Graph } from './tensor.ts'

/** What {@link sizeNodes} gives. */
export interface SizeNodes {
  /** Whether a number stands for a size. */
  has(size: number): boolean
  /** The name of an int64 vector of numbers, of which some stand for sizes. */
  vector(numbers: readonly number[]): string
}

/**
 * The nodes that compute sizes, each once: `push` is given them, `constant` the numbers that need no node.
 */
export function sizeNodes(
  { inputs, values, sizes }: Graph,
  constant: (numbers: readonly number[]) => string,
  push: (op: string, inputs: readonly string[], output: string, attrs?: Record<string, OnnxAttribute>) => void,
): SizeNodes {
  const made = new Set<string>()
  const once = (name: string, make: () => void): string => {
    if (!made.has(name)) {
      made.add(name)
      make()
    }
    return name
  }
  /** An int64 vector with one size. */
  const element = (size: Size): string => {
    if (typeof size === 'number') return constant([size])
    const name = `size_${sizeText(size)}`
    if (typeof size === 'string') return once(name, () => pushAxis(size, name))
    return once(name, () => {
      const op = size.op === 'times' ? 'Mul' : 'Add'
      const whole = size.of.slice(1, -1).reduce<string>((left, part, i) => {
        push(op, [left, element(part)], `${name}_${i}`)
        return `${name}_${i}`
      }, element(size.of[0]!))
      push(op, [whole, element(size.of.at(-1)!)], name)
    })
  }
  const pushAxis = (size: string, name: string): void => {
    const axisOf = (id: number) => values[id]!.shape.findIndex((one) => sizes!.get(one) === size)
    const [input, id] = Object.entries(inputs).find(([, id]) => axisOf(id) >= 0)!
    push('Shape', [input], name, { start: axisOf(id), end: axisOf(id) + 1 })
  }
  return {
    has: (size: number): boolean => sizes?.has(size) ?? false,
    vector(numbers: readonly number[]): string {
      const names = numbers.map((one) => element(sizes!.get(one) ?? one))
      if (names.length === 1) return names[0]!
      const name = `sizes_${names.map((one) => one.replace(/^(size|i64s)_/, '')).join('_')}`
      return once(name, () => push('Concat', names, name, { axis: 0 }))
    },
  }
}
