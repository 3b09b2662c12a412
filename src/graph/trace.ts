/** From a TypeScript function over named tensors to a graph with only the nodes that its results need. */

import { primitives } from './primitives.ts'
import { type Graph, type Node, type Tensor, Trace, type TraceOptions, type ValueInfo } from './tensor.ts'

/** Named tensors: what a traced function takes and gives. */
export type Tensors = Readonly<Record<string, Tensor>>

/**
 * Runs `fn` on symbolic inputs and returns the graph of its results.
 * @throws whatever `fn` throws, e.g. RangeError for shapes that do not fit.
 */
export function trace(
  fn: (inputs: Tensors) => Tensors,
  inputs: Readonly<Record<string, ValueInfo>>,
  options?: TraceOptions,
): Graph {
  const under = new Trace(primitives, options)
  const tensors = Object.fromEntries(Object.entries(inputs).map(([name, info]) => [name, under.input(name, info)]))
  const results = Object.entries(fn(tensors))
  const clash = results.find(([name]) => name in inputs)
  if (clash)
    throw new TypeError(`trace: ${clash[0]} names both an input and a result; give the result a name of its own`)
  const outputs = Object.fromEntries(results.map(([name, tensor]) => [name, tensor.id]))
  const nodes = liveNodes(under.nodes, Object.values(outputs))
  return { values: under.values, nodes, constants: under.constants, inputs: under.inputs, outputs }
}

/** The nodes that some output needs. A stored value stands for what it replaces, which may then fall away. */
function liveNodes(nodes: readonly Node[], outputs: readonly number[]): Node[] {
  const live = new Set(outputs)
  const kept: Node[] = []
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((id) => live.has(id))) continue
    kept.push(node)
    for (const id of node.op === 'Stored' ? node.inputs.slice(1) : node.inputs) live.add(id)
  }
  return kept.reverse()
}
