/** Changes to a traced graph: new values, inputs and nodes, of types that only models store or are fed. */

import { needed } from '../graph/parts.ts'
import type { Attrs, Graph, GraphValue, Node, ValueType } from '../graph/tensor.ts'

/** A graph under change; {@link Draft.finish} gives it out. */
export interface Draft {
  /** The nodes that read a value. */
  readers(id: number): Node[]
  value(dtype: ValueType, shape: readonly number[]): number
  input(name: string, dtype: ValueType, shape: readonly number[]): number
  /** A node of ONNX, or of `domain`, with its attributes as ONNX writes them, before all nodes that are there. */
  node(op: string, inputs: readonly number[], outputs: readonly number[], attrs?: Attrs, domain?: string): void
  /** Puts others in a node's place; they stand where it stood. */
  replace(node: Node, ...by: readonly Node[]): void
  /** The info of a value. */
  info(id: number): GraphValue
  /** @param without inputs that are left out; @param outputs in place of the old ones */
  finish(change?: { without?: { has(name: string): boolean }; outputs?: Graph['outputs'] }): Graph
}

/** A draft of a graph, which stays as it is. */
export function draftOf(graph: Graph): Draft {
  const values = [...graph.values]
  const inputs = { ...graph.inputs }
  const first: Node[] = []
  const instead = new Map<Node, readonly Node[]>()
  const readers = new Map<number, Node[]>()
  for (const node of graph.nodes) {
    for (const id of new Set(node.inputs)) readers.set(id, [...(readers.get(id) ?? []), node])
  }
  const value = (dtype: ValueType, shape: readonly number[]) => values.push({ dtype, shape }) - 1
  return {
    readers: (id) => readers.get(id) ?? [],
    value,
    input(name, dtype, shape) {
      const id = value(dtype, shape)
      inputs[name] = id
      return id
    },
    node: (op, given, outputs, attrs = {}, domain = '') =>
      void first.push({ op, inputs: given, outputs, attrs, domain }),
    replace: (node, ...by) => void instead.set(node, by),
    info: (id) => values[id]!,
    finish({ without, outputs = graph.outputs } = {}) {
      const kept = Object.fromEntries(Object.entries(inputs).filter(([name]) => !without?.has(name)))
      const nodes = [...first, ...graph.nodes.flatMap((node) => instead.get(node) ?? [node])]
      return { ...graph, values, nodes: needed(nodes, Object.values(outputs)), inputs: kept, outputs }
    },
  }
}
