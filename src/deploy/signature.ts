/** What exported graphs are fed and give, by target: names, types, and how one step's results become the next's inputs. */

import { floats, ints, type NDArray } from '../base/array.ts'
import type { Graph } from '../graph/tensor.ts'
import type { Arrays } from '../runtime/device.ts'
import { type Draft, draftOf } from './draft.ts'
import type { ModelGraph } from './graph.ts'

/** A graph with a target's inputs and outputs. */
export interface Signed {
  readonly graph: Graph
  /** Integers that the graph itself needs, as little-endian int64 vectors of one element. */
  readonly numbers: Readonly<Record<string, Uint8Array>>
}

/** The inputs and outputs of a target. */
export interface Signature {
  sign(model: ModelGraph): Signed
  /**
   * Inputs for ids (b l) after `read` positions. All logits are asked for.
   * @param past what {@link Signature.next} gave; nothing at first
   */
  feeds(model: Pick<ModelGraph, 'kept'>, ids: NDArray, read: number, past?: Arrays): Arrays
  /** What is kept for the next step. */
  next(results: Arrays): Arrays
}

/** The scalar input that says after how many of the last tokens logits are given; 0 for all. */
const keepName = 'num_logits_to_keep'

/** ids, `past.…` -> logits, `next.…`: results named `next.X` are fed as `past.X`. */
export const plainSignature: Signature = {
  sign({ graph }) {
    const draft = draftOf(graph)
    const numbers = keepLast(draft, graph)
    const { hidden: _, ...outputs } = graph.outputs
    return { graph: draft.finish({ outputs }), numbers }
  },
  feeds: ({ kept }, ids, _read, past) => ({
    ids,
    [keepName]: ints([], [0]),
    ...(past ?? { 'past.position': ints([ids.shape[0]!, 1]), ...nothing(kept, ids.shape[0]!, plainName) }),
  }),
  next: (results) => renamed(results, (name) => (name === 'logits' ? undefined : name.replace(/^next\./, 'past.'))),
}

/** The inputs and outputs that @huggingface/transformers knows of models that keep recurrent states. */
export const transformersSignature: Signature = {
  sign({ graph, kept }) {
    const draft = draftOf(graph)
    const numbers = keepLast(draft, graph)
    for (const [theirs, ours] of Object.entries(castInputs)) {
      if (draft.readers(graph.inputs[ours]!).length === 0) continue
      const { dtype, shape } = draft.info(graph.inputs[ours]!)
      const id = draft.input(theirs, 'int64', shape)
      draft.node('Cast', [id], [graph.inputs[ours]!], { to: dtype === 'float32' ? 1 : 6 })
    }
    const { hidden: _, ...outputs } = graph.outputs
    const finished = draft.finish({ without: new Set(Object.values(castInputs)), outputs })
    const names = (record: Readonly<Record<string, number>>, prefix: 'past' | 'present') =>
      Object.fromEntries(Object.entries(record).map(([name, id]) => [stateName(name, prefix, kept.length), id]))
    return {
      graph: { ...finished, inputs: names(finished.inputs, 'past'), outputs: names(finished.outputs, 'present') },
      numbers,
    }
  },
  feeds({ kept }, ids, read, past) {
    const [b, l] = ids.shape as [number, number]
    const start = { [stateName('past.length', 'past', kept.length)]: floats([b, 1, 0, 0]) }
    return {
      input_ids: ids,
      attention_mask: ints([b, read + l], new Int32Array(b * (read + l)).fill(1)),
      position_ids: ints(
        [b, l],
        Int32Array.from({ length: b * l }, (_, i) => read + (i % l)),
      ),
      [keepName]: ints([], [0]),
      ...(past ?? {
        ...start,
        ...nothing(kept, b, (layer, name) => stateName(plainName(layer, name), 'past', kept.length)),
      }),
    }
  },
  next: (results) =>
    renamed(results, (name) =>
      name === 'logits'
        ? undefined
        : name.replace(/^present_recurrent/, 'past_recurrent').replace(/^present\./, 'past_key_values.'),
    ),
}

/** Inputs that are int64 there, by their name here. */
const castInputs = { input_ids: 'ids', attention_mask: 'mask', position_ids: 'positions' } as const

const plainName = (layer: number, name: string): string => `past.${layer}.${name}`

/** `past.3.state` -> `past_recurrent.3`, `next.3.key` -> `present.3.key`; the length is a layer after the last. */
function stateName(name: string, prefix: 'past' | 'present', layers: number): string {
  const [, kind] = /^(?:past|next)\.(.*)$/.exec(name) ?? []
  if (kind === undefined) return name
  const cache = prefix === 'past' ? 'past_key_values' : 'present'
  if (kind === 'length') return `${cache}.${layers}.key`
  return kind.endsWith('.state') ? `${prefix}_recurrent.${kind.slice(0, -'.state'.length)}` : `${cache}.${kind}`
}

/** What is kept before the first position: zeros, and no keys. */
function nothing(kept: ModelGraph['kept'], batch: number, nameOf: (layer: number, name: string) => string): Arrays {
  const size = (of: number | string) => (typeof of === 'number' ? of : of === 'batch_size' ? batch : 0)
  return Object.fromEntries(
    kept.flatMap((layer, i) =>
      Object.entries(layer).map(([name, shape]) => [nameOf(i, name), floats(shape.map(size))] as const),
    ),
  )
}

/** Cuts the states that logits are computed from to the last ones: those from −n on are all where n is 0. */
function keepLast(draft: Draft, { outputs }: Graph): Signed['numbers'] {
  const hidden = outputs.hidden!
  const { dtype, shape } = draft.info(hidden)
  const number = (name: string) => draft.input(name, 'int64', [1])
  const [one, end] = [number('number_1'), number('number_end')]
  const [vector, start] = [draft.value('int64', [1]), draft.value('int64', [1])]
  const kept = draft.value(dtype, shape)
  draft.node('Reshape', [draft.input(keepName, 'int64', []), one], [vector])
  draft.node('Neg', [vector], [start])
  const slice = { op: 'Slice', inputs: [hidden, start, end, one], outputs: [kept], attrs: {}, domain: '' }
  for (const [i, node] of draft.readers(hidden).entries()) {
    const moved = { ...node, inputs: node.inputs.map((id) => (id === hidden ? kept : id)) }
    draft.replace(node, ...(i === 0 ? [slice] : []), moved)
  }
  return { number_1: int64(1n), number_end: int64(2n ** 62n) }
}

function int64(value: bigint): Uint8Array {
  return new Uint8Array(BigInt64Array.of(value).buffer)
}

function renamed(arrays: Arrays, nameOf: (name: string) => string | undefined): Arrays {
  return Object.fromEntries(
    Object.entries(arrays).flatMap(([name, array]) => {
      const other = nameOf(name)
      return other === undefined ? [] : [[other, array]]
    }),
  )
}
