/** What one operator's record says: shape rule, gradient, ONNX emission, and examples that are its tests. */

import type { Attrs, Inference, Node, Tensor, ValueInfo, ValueType } from './tensor.ts'

/** What ONNX calls the types of values. */
export const onnxTypes: Readonly<Record<ValueType, number>> = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  float16: 10,
  float64: 11,
}

/** A node seen by its gradient rule. */
export interface Application {
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  readonly attrs: Attrs
}

/** An attribute of an ONNX node; a whole number is an int, wrap floats in `{ float }`. */
export type OnnxAttribute = number | string | readonly number[] | { readonly float: number }

/** What an operator's emission writes to. */
export interface Emitter {
  /** The ONNX name of a value. */
  name(id: number): string
  info(id: number): ValueInfo
  /** Whether anything reads a value; an optional result that nothing reads is not asked for. */
  used(id: number): boolean
  /** Makes `output` another name of `input`. */
  alias(output: number, input: number): void
  /** The name of an int64 vector, for ONNX inputs such as axes and shapes; numbers that stand for sizes are computed. */
  int64(values: readonly number[], scalar?: boolean): string
  /** The name of a float scalar with the dtype of value `like`. */
  scalar(value: number, like: number): string
  /** A fresh name for an intermediate. */
  temporary(): string
  /** @param domain whose operator it is; ONNX's own by default */
  push(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attrs?: Record<string, OnnxAttribute>,
    domain?: string,
  ): void
  /** Whether a number in a shape or an attribute stands for a size that is known only when the graph runs. */
  isDynamic(size: number): boolean
}

/** Inputs for which an operator is tested: shape by ONNX Runtime, gradient by central differences. */
export interface Example {
  readonly shapes: readonly (readonly number[])[]
  readonly attrs?: Attrs
  /** Range of the random inputs, default −2 … 2. */
  readonly range?: readonly [number, number]
  /** Inputs that hold integers, by position: their exclusive upper bound. */
  readonly integers?: Readonly<Record<number, number>>
}

/** One record of the table in primitives.ts. */
export interface Operator extends Inference {
  /** Gradients of the inputs from those of the outputs (undefined: none arrived); none at all when absent. */
  readonly grad?: (call: Application, dy: readonly (Tensor | undefined)[]) => readonly (Tensor | undefined)[]
  /** Works element by element, so its rule also takes a gradient that still has to be broadcast. */
  readonly elementwise?: boolean
  /** How ONNX writes it; the default is the ONNX operator of the same name with the same attributes. */
  readonly emit?: (emitter: Emitter, node: Node) => void
  readonly examples: readonly Example[]
}
