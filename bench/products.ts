/** The matrix products of a model: how many floating-point operations a step has, and how fast its weights' products are. */

import { floats, sizeOf } from '../src/base/array.ts'
import { traceBlock } from '../src/execute/blocks.ts'
import { createWorkspace } from '../src/execute/workspace.ts'
import { matmul, transpose } from '../src/graph/ops.ts'
import type { Graph, ValueInfo } from '../src/graph/tensor.ts'
import { type Tensors, trace } from '../src/graph/trace.ts'
import { familyOf } from '../src/models/families.ts'
import type { ModelConfig } from '../src/models/model.ts'
import { prefixed } from '../src/nn/params.ts'
import { openDevice } from '../src/node/device.ts'
import { compile } from '../src/runtime/compile.ts'
import { configOf, type StepOptions } from './gpt2Small.ts'
import { type Cases, seconds } from './measure.ts'

/** Products of one weight matrix with all rows: forward, and both gradients. */
interface Weight {
  readonly inputs: number
  readonly outputs: number
  /** How many layers have a weight of this shape. */
  readonly count: number
  /** Stored as (outputs inputs), as an embedding is. */
  readonly transposed: boolean
}

export const cases = {
  /** Seconds for the products of all weight matrices, forward and backward, each in the form that the model has. */
  async products(options: StepOptions) {
    const config = configOf(options)
    const device = await openDevice()
    const workspace = createWorkspace()
    const runs = weightsOf(config).map((weight) => {
      const run = compile(device, productsOf(weight))
      const { inputs, outputs, transposed } = weight
      const given = {
        x: filled([config.maxLength, inputs]),
        w: filled(transposed ? [outputs, inputs] : [inputs, outputs]),
        dy: filled([config.maxLength, outputs]),
      }
      return { count: weight.count, once: () => workspace.run(`${inputs} ${outputs}`, run, given) }
    })
    return async () => {
      let total = 0
      for (const { count, once } of runs) {
        // A quarter as often as the model does, for a round of a third of a step.
        const times = Math.ceil(count / 4)
        const took = await seconds(async () => {
          for (let i = 0; i < times; i++) await once()
        })
        total += (took * count) / times
      }
      return total
    }
  },
} satisfies Cases

/** Floating-point operations of {@link cases}.products. */
export function weightOperations(config: ModelConfig): number {
  const each = weightsOf(config).map(({ inputs, outputs, count }) => 6 * config.maxLength * inputs * outputs * count)
  return each.reduce((total, operations) => total + operations, 0)
}

/**
 * Floating-point operations of a whole step on one sequence: those of the products forward, as the traced blocks have
 * them, and twice that for the gradients. Nothing is counted for what a backward pass computes again.
 */
export function stepOperations(config: ModelConfig): number {
  const family = familyOf(config)
  let forward = 2 * config.maxLength * config.width * config.vocab
  for (let layer = 0; layer < config.layers; layer++) {
    const inputs: Record<string, ValueInfo> = {
      x: float([1, config.maxLength, config.width]),
      ...prefixed(
        'p.',
        Object.fromEntries(
          Object.entries(family.blockParams(config, layer)).map(([path, { shape }]) => [path, float(shape)]),
        ),
      ),
    }
    forward += productOperations(trace((given) => ({ y: traceBlock(config, layer, given) }), inputs))
  }
  return 3 * forward
}

/** Floating-point operations of a graph's matrix products. */
export function productOperations({ nodes, values }: Graph): number {
  let total = 0
  for (const { op, inputs, outputs } of nodes) {
    if (op === 'MatMul') total += 2 * sizeOf(values[outputs[0]!]!.shape) * values[inputs[0]!]!.shape.at(-1)!
  }
  return total
}

function weightsOf(config: ModelConfig): Weight[] {
  const { layers, width, vocab } = config
  const matrices = Object.values(familyOf(config).blockParams(config, 0)).filter(({ shape }) => shape.length === 2)
  return [
    ...matrices.map(({ shape: [inputs, outputs] }) => ({
      inputs: inputs!,
      outputs: outputs!,
      count: layers,
      transposed: false,
    })),
    { inputs: width, outputs: vocab, count: 1, transposed: true },
  ]
}

function productsOf({ transposed }: Weight): (inputs: Tensors) => Tensors {
  return ({ x, w, dy }) =>
    transposed
      ? { y: matmul(x!, transpose(w!)), dx: matmul(dy!, w!), dw: matmul(transpose(dy!), x!) }
      : { y: matmul(x!, w!), dx: matmul(dy!, transpose(w!)), dw: matmul(transpose(x!), dy!) }
}

/** Numbers of no meaning. */
export function filled(shape: readonly number[]) {
  return floats(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i)),
  )
}

/** A float32 input of a traced function. */
export function float(shape: readonly number[]): ValueInfo {
  return { dtype: 'float32', shape }
}
