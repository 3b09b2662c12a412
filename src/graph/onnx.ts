/** A graph as the bytes of an ONNX model, ready for an inference session. */

import { type NDArray, sizeOf } from '../base/array.ts'
import { type Emitter, type OnnxAttribute, onnxTypes } from './operator.ts'
import { primitives } from './primitives.ts'
import { Message } from './protobuf.ts'
import { sizeText } from './size.ts'
import { sizeNodes } from './sizeNodes.ts'
import type { Graph, GraphValue, ValueInfo, ValueType } from './tensor.ts'

/** Opset 20 is the first with Gelu. */
const opset = 20
const irVersion = 9
const elementBytes: Record<ValueType, number> = { float32: 4, uint8: 1, int32: 4, int64: 8, float16: 2, float64: 8 }
/** Versions of operators that are not ONNX's own. */
const otherDomains: Readonly<Record<string, number>> = { 'com.microsoft': 1 }

/**
 * Values of an input that belong to the model: their bytes (little-endian, row-major), which are stored in it, or where
 * they stand in a file beside it.
 */
export type Weight =
  | { readonly data: Uint8Array }
  | { readonly file: string; readonly offset: number; readonly length: number }

/** Options of {@link toOnnx}. */
export interface OnnxOptions {
  /** Inputs, by name, that are constants of the model and not fed; the engine prepares such weights once. Default none. */
  readonly weights?: Readonly<Record<string, Weight>>
}

interface OnnxNode {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attrs: Record<string, OnnxAttribute>
  readonly domain: string
}

interface Initializer {
  readonly type: number
  readonly dims: readonly number[]
  readonly values: Weight
}

/**
 * The graph as ONNX bytes; its inputs and outputs keep their names.
 * @throws RangeError for a weight that is no input, or has another number of bytes than its input.
 */
export function toOnnx(graph: Graph, { weights = {} }: OnnxOptions = {}): Uint8Array {
  const { nodes, initializers } = emit(graph)
  const used = new Set(nodes.flatMap(({ inputs }) => inputs))
  for (const [name, values] of Object.entries(weights)) {
    const info = checkWeight(graph, name, values)
    if (used.has(name)) initializers.set(name, { type: onnxTypes[info.dtype], dims: info.shape, values })
  }
  const model = new Message()
  model.int(1, irVersion).text(2, 'hedgehog')
  model.message(7, (body) => {
    for (const node of nodes) body.message(1, (message) => writeNode(message, node))
    body.text(2, 'graph')
    for (const [name, value] of initializers) body.message(5, (message) => writeTensor(message, name, value))
    for (const [name, id] of Object.entries(graph.inputs)) {
      if (used.has(name) && !Object.hasOwn(weights, name))
        body.message(11, (message) => writeInfo(message, name, graph, id))
    }
    for (const [name, id] of Object.entries(graph.outputs)) {
      body.message(12, (message) => writeInfo(message, name, graph, id))
    }
  })
  model.message(8, (set) => set.text(1, '').int(2, opset))
  for (const domain of new Set(nodes.map((node) => node.domain))) {
    if (domain !== '') model.message(8, (set) => set.text(1, domain).int(2, otherDomains[domain]!))
  }
  return model.finish()
}

/** The names of the inputs that some node of the graph reads: what a session wants to be fed. */
export function usedInputs(graph: Graph): string[] {
  const used = new Set(emit(graph).nodes.flatMap(({ inputs }) => inputs))
  return Object.keys(graph.inputs).filter((name) => used.has(name))
}

function emit(graph: Graph): { nodes: OnnxNode[]; initializers: Map<string, Initializer> } {
  const nodes: OnnxNode[] = []
  const initializers = new Map<string, Initializer>()
  const names = new Map<number, string>(Object.entries(graph.inputs).map(([name, id]) => [id, name]))
  const made = new Set(
    graph.nodes.filter(({ op }) => op !== 'Stored' && op !== 'StopGradient').flatMap((n) => n.outputs),
  )
  for (const [name, id] of Object.entries(graph.outputs)) if (made.has(id) && !names.has(id)) names.set(id, name)
  const used = new Set([...Object.values(graph.outputs), ...graph.nodes.flatMap(({ inputs }) => inputs)])
  let temporaries = 0
  const vector = (numbers: readonly number[], scalar = false): string => {
    const name = scalar ? `i64_${numbers[0]}` : `i64s_${numbers.join('_')}`
    const data = new Uint8Array(BigInt64Array.from(numbers, BigInt).buffer)
    initializers.set(name, { type: onnxTypes.int64, dims: scalar ? [] : [numbers.length], values: { data } })
    return name
  }
  const sizes = sizeNodes(graph, vector, (op, inputs, output, attrs = {}) => {
    nodes.push({ op, inputs, outputs: [output], attrs, domain: '' })
  })

  const emitter: Emitter = {
    name(id) {
      const known = names.get(id)
      if (known) return known
      const name = graph.constants.has(id) ? `c${id}` : `v${id}`
      names.set(id, name)
      const constant = graph.constants.get(id)
      if (constant) initializers.set(name, initializerOf(constant))
      return name
    },
    // What only models store is met by no operator of the table.
    info: (id) => graph.values[id] as ValueInfo,
    used: (id) => used.has(id),
    alias: (output, input) => void names.set(output, emitter.name(input)),
    int64: (numbers, scalar = false) => (numbers.some(sizes.has) ? sizes.vector(numbers) : vector(numbers, scalar)),
    isDynamic: sizes.has,
    scalar(value, like) {
      const { dtype } = emitter.info(like)
      const name = `${dtype}_${value}`
      const data = dtype === 'float64' ? Float64Array.of(value) : Float32Array.of(value)
      initializers.set(name, { type: onnxTypes[dtype], dims: [], values: { data: new Uint8Array(data.buffer) } })
      return name
    },
    temporary: () => `t${temporaries++}`,
    push(op, inputs, outputs, attrs = {}, domain = '') {
      const wrong = Object.entries(attrs).find(([, value]) => [value].flat().some((n) => sizes.has(n as number)))
      if (wrong) throw new TypeError(`toOnnx: ${op}: ${wrong[0]} depends on a size, want a number`)
      nodes.push({ op, inputs, outputs, attrs, domain })
    },
  }

  for (const node of graph.nodes) {
    const emitOwn = node.domain === undefined ? primitives[node.op]?.emit : undefined
    if (emitOwn) emitOwn(emitter, node)
    else {
      const [inputs, outputs] = [node.inputs.map(emitter.name), node.outputs.map(emitter.name)]
      emitter.push(node.op, inputs, outputs, { ...node.attrs }, node.domain)
    }
  }
  for (const [name, id] of Object.entries(graph.outputs)) {
    if (emitter.name(id) !== name) emitter.push('Identity', [emitter.name(id)], [name])
  }
  return { nodes, initializers }
}

function initializerOf({ dtype, shape, data }: NDArray): Initializer {
  return {
    type: onnxTypes[dtype],
    dims: shape,
    values: { data: bytesOf(data) },
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: NDArray['data']): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function checkWeight(graph: Graph, name: string, values: Weight): GraphValue {
  const info = Object.hasOwn(graph.inputs, name) ? graph.values[graph.inputs[name]!]! : undefined
  if (!info) throw new RangeError(`toOnnx: got a weight ${name}, want one of ${Object.keys(graph.inputs).join(', ')}`)
  const got = 'data' in values ? values.data.length : values.length
  const want = sizeOf(info.shape) * elementBytes[info.dtype]
  if (got === want) return info
  throw new RangeError(`toOnnx: weight ${name}: got ${got} bytes, want ${want} for ${info.dtype} [${info.shape}]`)
}

function writeNode(message: Message, { op, inputs, outputs, attrs, domain }: OnnxNode): void {
  for (const name of inputs) message.text(1, name)
  for (const name of outputs) message.text(2, name)
  message.text(4, op)
  for (const [name, value] of Object.entries(attrs)) {
    message.message(5, (attribute) => writeAttribute(attribute.text(1, name), value))
  }
  if (domain !== '') message.text(7, domain)
}

function writeAttribute(message: Message, value: OnnxAttribute): void {
  if (typeof value === 'number') message.int(3, value).int(20, 2)
  else if (typeof value === 'string') message.text(4, value).int(20, 3)
  else if ('float' in value) message.float(2, value.float).int(20, 1)
  else {
    for (const item of value) message.int(8, item)
    message.int(20, 7)
  }
}

function writeTensor(message: Message, name: string, { type, dims, values }: Initializer): void {
  for (const dim of dims) message.int(1, dim)
  message.int(2, type).text(8, name)
  if ('data' in values) return void message.bytes(9, values.data)
  const { file, offset, length } = values
  for (const [key, value] of Object.entries({ location: file, offset, length })) {
    message.message(13, (entry) => entry.text(1, key).text(2, String(value)))
  }
  message.int(14, 1)
}

function writeInfo(message: Message, name: string, { values, sizes }: Graph, id: number): void {
  const { dtype, shape } = values[id]!
  message.text(1, name).message(2, (type) =>
    type.message(1, (tensor) =>
      tensor.int(1, onnxTypes[dtype]).message(2, (dims) => {
        for (const size of shape) {
          const known = sizes?.get(size)
          dims.message(1, (dim) => void (known === undefined ? dim.int(1, size) : dim.text(2, sizeText(known))))
        }
      }),
    ),
  )
}
