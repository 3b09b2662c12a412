/** One layer in a pass of distillation: compiled functions of its teacher and its loss, and where gradients go. */

import type { DistillLoss } from '../attention/distillation.ts'
import { isMapPath } from '../attention/mapParams.ts'
import type { FloatArray, NDArray, Params } from '../base/array.ts'
import { type BlockSource, blockKey, type FunctionCache, readBlock } from '../execute/blocks.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Arrays } from '../runtime/device.ts'
import type { Kernels } from '../runtime/kernels.ts'
import { headsImitation, layerImitation, layerTeacher, type Part } from './layerImitation.ts'

/** What a layer is computed from. */
export interface LayerInputs {
  readonly params: Params
  readonly layer: number
  readonly x: FloatArray
  readonly shared: Arrays
  /** What the sum of its losses is multiplied by. */
  readonly factor: FloatArray
  /** What gradients go to, by their paths in the block; empty where the layer is only measured. */
  readonly own: Params
  /** Gradients so far do not count. */
  readonly fresh: boolean
}

/** The ways to compute a layer. */
export interface LayerSteps {
  /** What the teacher passes on, and the loss, by one function that has the teacher's weights once. */
  whole(inputs: LayerInputs): Promise<{ y: FloatArray; loss: number }>
  /** What the teacher passes on, and its heads. */
  teacher(inputs: LayerInputs): Promise<{ y: FloatArray; heads: Arrays }>
  /** The loss on a part of the queries, from the teacher's heads. */
  part(inputs: LayerInputs, heads: Arrays, at: Part): Promise<number>
}

/** Options of {@link layerSteps}. */
export interface LayerStepOptions {
  readonly loss: DistillLoss
  readonly kernels: Kernels
  /** Layers from here on are not read. */
  readonly end: number
  readonly blocks: BlockSource | undefined
}

/** The steps of a linearized config's layers. */
export function layerSteps(
  config: ModelConfig,
  functions: FunctionCache,
  { loss: kind, kernels, end, blocks: source }: LayerStepOptions,
): LayerSteps {
  const { blockPrefix } = familyOf(config)
  const weightsOf = ({ params, layer }: LayerInputs) =>
    readBlock(config, params, layer, { source, next: (layer + 1) % end })
  const compiled = (layer: number, name: string, build: () => (inputs: Tensors) => Tensors) =>
    functions.get(`${blockKey(config, layer)} ${name}`, build)
  const into = ({ own, fresh }: LayerInputs): Arrays => (fresh ? prefixed('d.', own) : {})
  const take = ({ own, fresh }: LayerInputs, found: Readonly<Record<string, NDArray>>) => {
    if (fresh) return
    for (const [path, gradient] of Object.entries(below<NDArray>('d.', found)))
      kernels.add(own[path]!, gradient as FloatArray)
  }

  return {
    async whole(inputs) {
      const { layer, x, shared, factor, own } = inputs
      const paths = Object.keys(own)
      const run = compiled(layer, `${paths}`, () => layerImitation(config, layer, kind, paths))
      const { y, loss, ...d } = await run({ x, factor, ...shared, ...(await weightsOf(inputs)) }, into(inputs))
      take(inputs, d)
      return { y: y as FloatArray, loss: loss!.data[0]! }
    },
    async teacher(inputs) {
      const { layer, x, shared } = inputs
      const run = compiled(layer, 'teacher', () => layerTeacher(config, layer))
      const { y, ...heads } = await run({ x, ...shared, ...(await weightsOf(inputs)) })
      return { y: y as FloatArray, heads }
    },
    async part(inputs, heads, at) {
      const { params, layer, shared, factor, own } = inputs
      const { keyMask } = shared
      const paths = Object.keys(own)
      const run = compiled(layer, `${paths} ${at.part}/${at.count}`, () =>
        headsImitation(config, layer, kind, paths, at),
      )
      const given = Object.entries(below(blockPrefix(layer), params)).filter(([path]) => isMapPath(path))
      const maps = prefixed('p.', Object.fromEntries(given))
      const { loss, ...d } = await run({ ...heads, ...(keyMask && { keyMask }), ...maps, factor }, into(inputs))
      take(inputs, d)
      return loss!.data[0]!
    },
  }
}
