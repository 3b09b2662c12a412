/** A graph as the bytes of an ONNX model, ready for an inference session. */

import { type DType, type NDArray, sizeOf } from '../base/array.ts'
import type { Emitter, OnnxAttribute } from './operator.ts'
import { primitives } from './primitives.ts'
import { Message } from './protobuf.ts'
import type { Graph, ValueInfo } from './tensor.ts'

/** Opset 20 is the first with Gelu. */
const opset = 20
const irVersion = 9
const elementType: Record<DType | 'int64', number> = { float32: 1, int32: 6, int64: 7, float64: 11 }
const elementBytes: Record<DType, number> = { float32: 4, int32: 4, float64: 8 }

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
    if (used.has(name)) initializers.set(name, { type: elementType[info.dtype], dims: info.shape, values })
  }
  const model = new Message()
  model.int(1, irVersion).text(2, 'hedgehog')
  model.message(7, (body) => {
    for (const node of nodes) body.message(1, (message) => writeNode(message, node))
    body.text(2, 'graph')
    for (const [name, value] of initializers) body.message(5, (message) => writeTensor(message, name, value))
    for (const [name, id] of Object.entries(graph.inputs)) {
      if (used.has(name) && !Object.hasOwn(weights, name))
        body.message(11, (message) => writeInfo(message, name, graph.values[id]!))
    }
    for (const [name, id] of Object.entries(graph.outputs)) {
      body.message(12, (message) => writeInfo(message, name, graph.values[id]!))
    }
  })
  model.message(8, (set) => set.text(1, '').int(2, opset))
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
    info: (id) => graph.values[id]!,
    used: (id) => used.has(id),
    alias: (output, input) => void names.set(output, emitter.name(input)),
    int64(numbers, scalar = false) {
      const name = scalar ? `i64_${numbers[0]}` : `i64s_${numbers.join('_')}`
      const data = new Uint8Array(BigInt64Array.from(numbers, BigInt).buffer)
      initializers.set(name, { type: elementType.int64, dims: scalar ? [] : [numbers.length], values: { data } })
      return name
    },
    scalar(value, like) {
      const { dtype } = graph.values[like]!
      const name = `${dtype}_${value}`
      const data = dtype === 'float64' ? Float64Array.of(value) : Float32Array.of(value)
      initializers.set(name, { type: elementType[dtype], dims: [], values: { data: new Uint8Array(data.buffer) } })
      return name
    },
    temporary: () => `t${temporaries++}`,
    push: (op, inputs, outputs, attrs = {}) => void nodes.push({ op, inputs, outputs, attrs }),
  }

  for (const node of graph.nodes) {
    const operator = primitives[node.op]!
    if (operator.emit) operator.emit(emitter, node)
    else emitter.push(node.op, node.inputs.map(emitter.name), node.outputs.map(emitter.name), { ...node.attrs })
  }
  for (const [name, id] of Object.entries(graph.outputs)) {
    if (emitter.name(id) !== name) emitter.push('Identity', [emitter.name(id)], [name])
  }
  return { nodes, initializers }
}

function initializerOf({ dtype, shape, data }: NDArray): Initializer {
  return {
    type: elementType[dtype],
    dims: shape,
    values: { data: bytesOf(data) },
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: NDArray['data']): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function checkWeight(graph: Graph, name: string, values: Weight): ValueInfo {
  const info = Object.hasOwn(graph.inputs, name) ? graph.values[graph.inputs[name]!]! : undefined
  if (!info) throw new RangeError(`toOnnx: got a weight ${name}, want one of ${Object.keys(graph.inputs).join(', ')}`)
  const got = 'data' in values ? values.data.length : values.length
  const want = sizeOf(info.shape) * elementBytes[info.dtype]
  if (got === want) return info
  throw new RangeError(`toOnnx: weight ${name}: got ${got} bytes, want ${want} for ${info.dtype} [${info.shape}]`)
}

function writeNode(message: Message, { op, inputs, outputs, attrs }: OnnxNode): void {
  for (const name of inputs) message.text(1, name)
  for (const name of outputs) message.text(2, name)
  message.text(4, op)
  for (const [name, value] of Object.entries(attrs)) {
    message.message(5, (attribute) => writeAttribute(attribute.text(1, name), value))
  }
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

function writeInfo(message: Message, name: string, { dtype, shape }: ValueInfo): void {
  message.text(1, name).message(2, (type) =>
    type.message(1, (tensor) =>
      tensor.int(1, elementType[dtype]).message(2, (dims) => {
        for (const size of shape) dims.message(1, (dim) => dim.int(1, size))
      }),
    ),
  )
}
