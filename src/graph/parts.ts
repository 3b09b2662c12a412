/** A graph cut into parts that run one after the other, so that only the weights of one are needed at a time. */

import type { Graph, Node } from './tensor.ts'

/** What the value between two parts is called: a result of the one before, an input of the one after. */
export const cutName = (i: number): string => `cut.${i}`

/**
 * Parts of a graph, one more than there are cuts. Part i ends with `cut.i`, reads `cut.(i − 1)`, and has those outputs of the
 * graph that need no later cut. Inputs keep their names.
 * @param cuts values in the order in which they depend on one another
 * @param isWeight whether an input, by its name, is declared only where it is read
 */
export function graphParts(graph: Graph, cuts: readonly number[], isWeight: (name: string) => boolean): Graph[] {
  const parts = partOf(graph, cuts)
  return Array.from({ length: cuts.length + 1 }, (_, i) => {
    const own = Object.entries(graph.outputs).filter(([, id]) => (parts.get(id) ?? 0) === i)
    const outputs = { ...(i < cuts.length && { [cutName(i)]: cuts[i]! }), ...Object.fromEntries(own) }
    const before = i > 0 ? { [cutName(i - 1)]: cuts[i - 1]! } : {}
    const nodes = needed(graph.nodes, Object.values(outputs), new Set(Object.values(before)))
    const read = new Set(nodes.flatMap((node) => node.inputs))
    const given = Object.entries(graph.inputs).filter(([, id]) => read.has(id))
    // Sizes are taken from the first input that has them, so that others come last.
    const others = Object.entries(graph.inputs).filter(([name, id]) => !isWeight(name) && !read.has(id))
    return { ...graph, nodes, inputs: { ...before, ...Object.fromEntries([...given, ...others]) }, outputs }
  })
}

/** The first part that can give a value: the one after the last cut that it depends on. */
function partOf({ nodes }: Graph, cuts: readonly number[]): Map<number, number> {
  const after = new Map(cuts.map((id, i) => [id, i + 1]))
  const found = new Map<number, number>()
  const seen = (id: number) => after.get(id) ?? found.get(id) ?? 0
  for (const { inputs, outputs } of nodes) {
    const part = inputs.reduce((last, id) => Math.max(last, seen(id)), 0)
    for (const id of outputs) found.set(id, part)
  }
  return found
}

/** The nodes that values need, where some are given. */
export function needed(nodes: readonly Node[], values: readonly number[], given?: ReadonlySet<number>): Node[] {
  const wanted = new Set(values)
  const kept: Node[] = []
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((id) => wanted.has(id) && !given?.has(id))) continue
    kept.push(node)
    for (const id of node.inputs) wanted.add(id)
  }
  return kept.reverse()
}
