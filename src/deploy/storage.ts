/** What the weights of an exported graph are stored as, and the operators that read them so. */

import { type FloatArray, floats, sizeOf, transposed } from '../base/array.ts'
import type { Graph, Node, ValueType } from '../graph/tensor.ts'
import { fromFloat16, toFloat16 } from '../io/half.ts'
import { type Draft, draftOf } from './draft.ts'
import type { GraphWeights } from './graph.ts'
import { type Bits, type BlockSizes, blockFor, dequantized, type Quantized, quantized } from './quantize.ts'

/** What matrices of weights are stored as; all else stays float32, as do states and logits. */
export type WeightType = 'float32' | 'float16' | 'int8' | 'int4'

export const weightTypes: readonly WeightType[] = ['float32', 'float16', 'int8', 'int4']

/** A weight as an input of the exported graph. */
export interface StoredWeight {
  readonly name: string
  readonly dtype: ValueType
  readonly shape: readonly number[]
  /** Its values, made when they are asked for. */
  bytes(): AsyncIterable<Uint8Array>
  /** The weight, before it in the list, whose bytes it shares. */
  readonly sameAs?: string
}

/** A graph with its weights as they are stored. */
export interface Stored {
  readonly graph: Graph
  readonly weights: readonly StoredWeight[]
  /** The values that a changed weight stands for, by the input's name. */
  readonly changed: ReadonlyMap<string, () => Promise<FloatArray>>
}

/** Options of {@link stored}. */
export interface StorageOptions {
  readonly type: WeightType
  /** Inputs that have 8 bits where others have 4: tables of tokens and the output embedding. */
  readonly fine: ReadonlySet<string>
}

/**
 * Products with weights, and rows of tables that are looked up, by the operators of a type. Where rows are no multiple of
 * 16 numbers, or a weight is used otherwise, it stays float32.
 */
export function stored(graph: Graph, weights: GraphWeights, { type, fine }: StorageOptions): Stored {
  const draft = draftOf(graph)
  const list: StoredWeight[] = []
  const changed = new Map<string, () => Promise<FloatArray>>()
  for (const [name, weight] of Object.entries(weights)) {
    const uses = type === 'float32' || name.startsWith('pos.') ? undefined : usesOf(draft, graph.inputs[name]!)
    const bits = type === 'int8' || fine.has(name) ? 8 : 4
    const part =
      uses && (type === 'float16' ? halved(draft, name, weight, uses) : inBlocks(draft, name, weight, uses, bits))
    if (part) changed.set(name, part.values)
    list.push(...(part?.weights ?? [plain(name, weight)]))
  }
  return { graph: draft.finish({ without: changed }), weights: list, changed }
}

interface Uses {
  readonly products: readonly Node[]
  /** Products with the transpose: it, and then they. */
  readonly turned: readonly { readonly transpose: Node; readonly products: readonly Node[] }[]
  readonly lookups: readonly Node[]
}

/** The uses of a matrix; undefined where there are others than products and lookups. */
function usesOf(draft: Draft, id: number): Uses | undefined {
  if (draft.info(id).shape.length !== 2) return undefined
  const isProduct = (node: Node, of: number) => node.op === 'MatMul' && node.inputs[1] === of && node.inputs[0] !== of
  const products = draft.readers(id).filter((node) => isProduct(node, id))
  const lookups = draft.readers(id).filter(({ op, inputs }) => op === 'Gather' && inputs[0] === id)
  const turned = draft
    .readers(id)
    .filter(({ op }) => op === 'Transpose')
    .map((transpose) => ({ transpose, products: draft.readers(transpose.outputs[0]!) }))
  const known = products.length + lookups.length + turned.length
  const allProducts = turned.every(({ transpose, products: some }) =>
    some.every((node) => isProduct(node, transpose.outputs[0]!)),
  )
  return known === draft.readers(id).length && allProducts ? { products, lookups, turned } : undefined
}

interface Part {
  readonly weights: readonly StoredWeight[]
  values(): Promise<FloatArray>
}

type GraphWeight = GraphWeights[string]

function plain(name: string, { shape, read }: GraphWeight): StoredWeight {
  return { name, dtype: 'float32', shape, bytes: () => one(async () => bytesOf((await read()).data)) }
}

/** The bytes of something that is made when they are asked for. */
async function* one(make: () => Promise<Uint8Array>): AsyncIterable<Uint8Array> {
  yield await make()
}

/** float16, with products in float16. */
function halved(draft: Draft, name: string, { shape, read }: GraphWeight, uses: Uses): Part {
  const id = draft.input(`${name}.half`, 'float16', shape)
  const cast = (from: number, to: number): Node => {
    return { op: 'Cast', inputs: [from], outputs: [to], attrs: { to: draft.info(to).dtype } }
  }
  const half = (like: number) => draft.value('float16', draft.info(like).shape)
  const product = (node: Node, weight: number) => {
    const [x, y] = [half(node.inputs[0]!), half(node.outputs[0]!)]
    draft.replace(
      node,
      cast(node.inputs[0]!, x),
      { ...node, inputs: [x, weight], outputs: [y] },
      cast(y, node.outputs[0]!),
    )
  }
  for (const node of uses.products) product(node, id)
  for (const { transpose, products } of uses.turned) {
    const turned = half(transpose.outputs[0]!)
    draft.replace(transpose, { ...transpose, inputs: [id], outputs: [turned] })
    for (const node of products) product(node, turned)
  }
  for (const node of uses.lookups) {
    const rows = half(node.outputs[0]!)
    draft.replace(node, { ...node, inputs: [id, node.inputs[1]!], outputs: [rows] }, cast(rows, node.outputs[0]!))
  }
  return {
    weights: [{ name: `${name}.half`, dtype: 'float16', shape, bytes: () => halfBytes(name, read) }],
    values: async () => floats(shape, fromFloat16(toFloat16((await read()).data))),
  }
}

/** Blocks along the rows that products multiply with, which must be those that are looked up. */
function inBlocks(draft: Draft, name: string, { shape, read }: GraphWeight, uses: Uses, bits: Bits): Part | undefined {
  const isTurned = uses.products.length === 0
  if (!isTurned && uses.turned.length + uses.lookups.length > 0) return undefined
  const turned = (array: FloatArray) => (isTurned ? array : transposed(array))
  const [n, k] = (isTurned ? shape : [...shape].reverse()) as [number, number]
  const block = blockFor(k)
  if (!block) return undefined
  const sizes: BlockSizes = { bits, block }
  const [codesShape, scalesShape] = [
    [n, k / block, (block * bits) / 8],
    [n, k / block],
  ]
  const codes = draft.input(`${name}.codes`, 'uint8', codesShape)
  const scales = draft.input(`${name}.scales`, 'float32', scalesShape)
  const attrs = { bits, block_size: block }
  const products = isTurned ? uses.turned.flatMap((one) => one.products) : uses.products
  for (const node of products) {
    draft.replace(node, {
      op: 'MatMulNBits',
      inputs: [node.inputs[0]!, codes, scales],
      outputs: node.outputs,
      attrs: { ...attrs, K: k, N: n },
      domain: 'com.microsoft',
    })
  }
  const rowsShape = [n, (k * bits) / 8]
  const rows = uses.lookups.length ? draft.input(`${name}.rows`, 'uint8', rowsShape) : -1
  for (const node of uses.lookups) {
    draft.replace(node, {
      op: 'GatherBlockQuantized',
      inputs: [rows, node.inputs[1]!, scales],
      outputs: node.outputs,
      attrs: { ...attrs, gather_axis: 0, quantize_axis: 1 },
      domain: 'com.microsoft',
    })
  }
  const made = lastMade(async () => quantized(turned(await read()).data, sizes))
  const codesName = `${name}.codes`
  const [codeBytes, scaleBytes] = [
    async () => (await made.get()).codes,
    async () => bytesOf((await made.take()).scales),
  ]
  return {
    weights: [
      { name: codesName, dtype: 'uint8', shape: codesShape, bytes: () => one(codeBytes) },
      { name: `${name}.scales`, dtype: 'float32', shape: scalesShape, bytes: () => one(scaleBytes) },
      ...(rows < 0
        ? []
        : [
            {
              name: `${name}.rows`,
              dtype: 'uint8',
              shape: rowsShape,
              sameAs: codesName,
              bytes: () => one(codeBytes),
            } as const,
          ]),
    ],
    values: async () => turned(floats([n, k], dequantized(await made.take(), sizes))),
  }
}

/** Codes and scales are made together and written one after the other; then they are let go of. */
function lastMade(make: () => Promise<Quantized>) {
  let kept: Promise<Quantized> | undefined
  const get = () => {
    kept ??= make()
    return kept
  }
  const take = () => {
    const found = get()
    kept = undefined
    return found
  }
  return { get, take }
}

/** Values that are converted at a time. */
const chunk = 2 ** 20

async function* halfBytes(name: string, read: GraphWeight['read']): AsyncIterable<Uint8Array> {
  const { data } = await read()
  for (let at = 0; at < data.length; at += chunk) {
    const values = data.subarray(at, at + chunk)
    const words = toFloat16(values)
    const large = words.findIndex((word) => (word & 0x7c00) === 0x7c00)
    if (large >= 0) {
      throw new RangeError(`export: ${name}: got the value ${values[large]}, too large for float16; export as float32`)
    }
    yield bytesOf(words)
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** The bytes of a weight. */
export function byteLength({ dtype, shape }: StoredWeight): number {
  return sizeOf(shape) * { float32: 4, float64: 8, int32: 4, int64: 8, float16: 2, uint8: 1 }[dtype]
}
