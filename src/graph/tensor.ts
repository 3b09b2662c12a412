/** The trace: tensors are handles into a graph that grows while a TypeScript function runs. */

import type { Data, DType, NDArray } from '../base/array.ts'
import type { Size } from './size.ts'

/** What is known of a value while tracing. */
export interface ValueInfo {
  readonly dtype: DType
  readonly shape: readonly number[]
}

/** What a value of a graph can hold: what is computed with, and what models only store or are fed. */
export type ValueType = DType | 'uint8' | 'int64'

/** A value of a graph. */
export interface GraphValue {
  readonly dtype: ValueType
  readonly shape: readonly number[]
}

/** Attributes of a node: plain data, compared by content. */
export type Attrs = Readonly<Record<string, number | string | readonly number[]>>

/** One operator applied: value ids in, value ids out. */
export interface Node {
  readonly op: string
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
  readonly attrs: Attrs
  /** Of an operator that ONNX itself does not have: whose it is, e.g. `com.microsoft`. */
  readonly domain?: string
}

/** A graph as plain data: nodes in topological order over values that are known by number. */
export interface Graph {
  readonly values: readonly GraphValue[]
  readonly nodes: readonly Node[]
  readonly constants: ReadonlyMap<number, NDArray>
  readonly inputs: Readonly<Record<string, number>>
  readonly outputs: Readonly<Record<string, number>>
  /** Numbers in shapes and attributes that stand for sizes known only when the graph runs; see `traceDynamic`. */
  readonly sizes?: ReadonlyMap<number, Size>
}

/** What the trace must know of an operator: the shapes and dtypes of its results. */
export interface Inference {
  infer(inputs: readonly ValueInfo[], attrs: Attrs): readonly ValueInfo[]
}

/** A value of a graph being traced; all arithmetic on it is in ops.ts. */
export class Tensor {
  readonly trace: Trace
  readonly id: number

  constructor(trace: Trace, id: number) {
    this.trace = trace
    this.id = id
  }

  get shape(): readonly number[] {
    return this.trace.values[this.id]!.shape
  }

  get dtype(): DType {
    return this.trace.values[this.id]!.dtype
  }
}

/** How a graph is written. */
export interface TraceOptions {
  /**
   * Up to how many rows a product with a transposed matrix is turned round. A CPU reads the matrix of such a product in
   * the order in which it lies, which decides where rows are few. Default 0.
   */
  readonly turnedRows?: number
}

/** A graph under construction. Equal operators on equal inputs become one node, constants of equal content one value. */
export class Trace {
  readonly values: ValueInfo[] = []
  readonly nodes: Node[] = []
  readonly constants = new Map<number, NDArray>()
  readonly inputs: Record<string, number> = {}
  readonly #known = new Map<string, Node>()
  readonly #producers = new Map<number, Node>()
  readonly #constantIds = new Map<string, number[]>()
  readonly #operators: Readonly<Record<string, Inference>>

  /** Products of at most so many rows are turned round; see `matmul`. */
  readonly turnedRows: number

  constructor(operators: Readonly<Record<string, Inference>>, { turnedRows = 0 }: TraceOptions = {}) {
    this.#operators = operators
    this.turnedRows = turnedRows
  }

  /** A named input of the graph. */
  input(name: string, info: ValueInfo): Tensor {
    const id = this.#value(info)
    this.inputs[name] = id
    return new Tensor(this, id)
  }

  /** A constant; its data must not change afterwards. */
  constant(array: NDArray): Tensor {
    const key = `${array.dtype}[${array.shape}]`
    const candidates = this.#constantIds.get(key) ?? []
    const same = candidates.find((id) => equalData(this.constants.get(id)!.data, array.data))
    if (same !== undefined) return new Tensor(this, same)
    const id = this.#value({ dtype: array.dtype, shape: array.shape })
    this.constants.set(id, array)
    this.#constantIds.set(key, [...candidates, id])
    return new Tensor(this, id)
  }

  /**
   * Applies an operator.
   * @throws TypeError for an unknown operator or operands of different traces; what its shape rule throws.
   */
  apply(op: string, inputs: readonly Tensor[], attrs: Attrs = {}): Tensor[] {
    const ids = inputs.map((tensor) => {
      if (tensor.trace === this) return tensor.id
      throw new TypeError(
        `${op}: got a tensor of another trace; a tensor lives only inside the function that traced it`,
      )
    })
    const key = `${op}(${ids})${JSON.stringify(attrs)}`
    const node = this.#known.get(key) ?? this.#append(op, ids, attrs, key)
    return node.outputs.map((id) => new Tensor(this, id))
  }

  /** The node that computes a value; undefined for inputs and constants. */
  producer({ id }: Tensor): Node | undefined {
    return this.#producers.get(id)
  }

  #append(op: string, inputs: readonly number[], attrs: Attrs, key: string): Node {
    const operator = this.#operators[op]
    if (!operator) throw new TypeError(`trace: unknown operator ${op}; add its record to graph/primitives.ts`)
    const infos = operator.infer(
      inputs.map((id) => this.values[id]!),
      attrs,
    )
    const node = { op, inputs, attrs, outputs: infos.map((info) => this.#value(info)) }
    this.nodes.push(node)
    this.#known.set(key, node)
    for (const id of node.outputs) this.#producers.set(id, node)
    return node
  }

  #value(info: ValueInfo): number {
    this.values.push(info)
    return this.values.length - 1
  }
}

function equalData(a: Data, b: Data): boolean {
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false
  return true
}
