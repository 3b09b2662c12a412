/** Stage 1: feature maps learn to imitate softmax attention, all layers in one pass, the teacher's outputs passed on. */

import { type DistillLoss, imitation } from '../attention/distillation.ts'
import { attentionOf } from '../attention/plan.ts'
import { type FloatArray, floats, type NDArray, type Params } from '../base/array.ts'
import { blockInputs, blockKey, functionCache, traceBlock } from '../execute/blocks.ts'
import { faultOf } from '../execute/fault.ts'
import { createForward } from '../execute/forward.ts'
import type { Batch, Objective } from '../execute/objective.ts'
import { gradients } from '../graph/gradient.ts'
import { mean, mul, reshape, sum } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'

/** An objective that can also be measured on held-out text; its losses are those of the real positions. */
export interface Distillation extends Objective {
  count(batch: Batch): number
  /** The mean loss over batches, without gradients. */
  measure(params: Params, batches: Iterable<Batch>): Promise<number>
}

/**
 * One layer's part as a function to trace: from {@link blockInputs}, the shared inputs and a `factor`, the teacher's
 * output `y`, the loss times that factor, and its gradient `d.PATH` for each path of the block that is trained.
 * @throws RangeError while it is traced when the layer's attention has no feature map.
 */
export function layerImitation(config: ModelConfig, layer: number, kind: DistillLoss, trained: readonly string[]) {
  return ({ factor, ...inputs }: Tensors): Tensors => {
    const plan = config.attention[layer]!
    if (!('map' in plan)) throw new RangeError(`distill: layer ${layer} attends by ${plan.kind}, want a feature map`)
    let loss: Tensor | undefined
    const y = traceBlock(config, layer, inputs, {
      attend: (params, visibility) => (heads) => {
        const found = imitation(attentionOf(plan), params, heads, visibility, kind)
        const perQuery = mean(found.loss, [1])
        const { keyMask } = visibility
        const real = keyMask ? mul(perQuery, reshape(keyMask, perQuery.shape)) : perQuery
        loss = mul(sum(real, undefined, false), factor!)
        return found.y
      },
    })
    const wrt = trained.map((path) => inputs[`p.${path}`]!)
    const d = trained.length ? gradients(loss!, wrt) : []
    return { y, loss: loss!, ...Object.fromEntries(trained.map((path, i) => [`d.${path}`, d[i]!])) }
  }
}

/**
 * Attention distillation of a linearized config: the mean over real queries, heads and layers of the student's loss.
 * Gradients reach feature maps only, and none crosses a layer: each layer and head is a problem of its own.
 * @throws RangeError when a layer's attention has no feature map.
 */
export function createDistillation(
  device: Device,
  config: ModelConfig,
  options: { readonly loss?: DistillLoss; readonly kernels?: Kernels } = {},
): Distillation {
  const { loss: kind = 'cross-entropy', kernels = plainKernels } = options
  const family = familyOf(config)
  const forward = createForward(device, config)
  const functions = functionCache(device)

  const layerOf = (layer: number, trained: readonly string[]) =>
    functions.get(`${blockKey(config, layer)} ${trained}`, () => layerImitation(config, layer, kind, trained))

  /** One pass over the layers; `grads` without paths of a layer means that it is measured only. */
  const pass = async (
    params: Params,
    grads: Params,
    batch: Batch,
    tokenWeight: number,
    fresh: boolean,
  ): Promise<number> => {
    const factor = floats([], [tokenWeight / config.layers])
    let x = await forward.embed(params, batch)
    const shared = forward.shared(batch)
    let total = 0
    for (let layer = 0; layer < config.layers; layer++) {
      const own = below(family.blockPrefix(layer), grads)
      const run = layerOf(layer, Object.keys(own))
      const into: Arrays = fresh ? prefixed('d.', own) : {}
      const { y, loss, ...d } = await run({ x, factor, ...shared, ...blockInputs(config, params, layer) }, into)
      if (!fresh)
        for (const [path, found] of Object.entries(below<NDArray>('d.', d)))
          kernels.add(own[path]!, found as FloatArray)
      if (!Number.isFinite(loss!.data[0]!)) {
        const fault = (await faultOf(device, config, params, batch)) ?? 'its states are finite, so the maps overflow'
        throw new Error(`distillation loss: got ${loss!.data[0]} in layer ${layer}: ${fault}; lower the learning rate`)
      }
      total += loss!.data[0]!
      x = y as FloatArray
    }
    return total
  }

  const count = ({ ids, keyMask }: Batch): number => {
    const [b, l] = ids.shape as readonly [number, number]
    return keyMask ? keyMask.data.reduce((sum, real) => sum + real, 0) : b * (l + (family.prepended ?? 0))
  }

  return {
    count,
    accumulate: (params, grads, batch, { tokenWeight, fresh = false }) =>
      pass(params, grads, batch, tokenWeight, fresh),
    async measure(params, batches) {
      let [total, tokens] = [0, 0]
      for (const batch of batches) {
        total += await pass(params, {}, batch, 1, false)
        tokens += count(batch)
      }
      return total / tokens
    },
    async dispose() {
      await forward.dispose()
      await functions.dispose()
    },
  }
}
