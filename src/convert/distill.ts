/** Stage 1: feature maps learn to imitate softmax attention, layer by layer, the teacher's outputs passed on. */

import type { DistillLoss } from '../attention/distillation.ts'
import { floats, type Params } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { type BlockSource, functionCache } from '../execute/blocks.ts'
import { faultOf } from '../execute/fault.ts'
import { createForward } from '../execute/forward.ts'
import type { Accumulation, Batch, Objective } from '../execute/objective.ts'
import { familyOf } from '../models/families.ts'
import { layerOf } from '../models/files.ts'
import type { ModelConfig } from '../models/model.ts'
import { below } from '../nn/params.ts'
import type { Device } from '../runtime/device.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'
import { type LayerInputs, layerSteps } from './layerSteps.ts'
import { type LayerRange, layersOf } from './layers.ts'

/** An objective that can also be measured on held-out text; its losses are those of the real positions. */
export interface Distillation extends Objective {
  count(batch: Batch): number
  /** The mean loss of each of its layers over batches, without gradients. */
  measure(params: Params, batches: Iterable<Batch>): Promise<number[]>
}

/** Options of {@link createDistillation}. */
export interface DistillationOptions {
  /** Default `cross-entropy`. */
  readonly loss?: DistillLoss
  readonly kernels?: Kernels
  /** The layers that learn; those after them are not read. Default: all. */
  readonly layers?: LayerRange
  /**
   * Each layer learns by its own loss and is clipped by itself, not by its share in the mean over layers: what it learns
   * does not depend on which others are distilled beside it, to the bit. Default false.
   */
  readonly apart?: boolean
  /**
   * How often a batch's maps are updated, from 1: its queries are cut into so many parts, and the maps of a layer learn
   * from one after the other. The teacher's pass, which costs most, is paid once. Default 1.
   */
  readonly updates?: number
  /** Has the parameters of blocks that are not among those that are given. */
  readonly blocks?: BlockSource
}

/**
 * Attention distillation of a linearized config: the mean over real queries, heads and layers of the student's loss.
 * Gradients reach feature maps only, and none crosses a layer: each layer and head is a problem of its own.
 * @throws RangeError for layers that the model lacks, and in use when one's attention has no feature map; TypeError for
 * several updates of a model that is not causal.
 */
export function createDistillation(
  device: Device,
  config: ModelConfig,
  options: DistillationOptions = {},
): Distillation {
  const { loss = 'cross-entropy', kernels = plainKernels, updates = 1, apart = false, blocks } = options
  if (updates > 1 && !config.causal) {
    throw new TypeError(
      `distill: got ${updates} updates in a batch of a ${config.family} model, want a causal one; leave them at 1`,
    )
  }
  const { first, end } = layersOf(config, options.layers)
  const count = end - first
  const { blockPrefix } = familyOf(config)
  const functions = functionCache(device)
  const steps = layerSteps(config, functions, { loss, kernels, end, blocks })
  // The states that layers are given are those of plain softmax layers, whatever has been learned.
  const softmax = { ...config, attention: config.attention.map(() => ({ kind: 'softmax' as const })) }
  const forward = createForward(device, softmax)

  /** The losses of the layers, each times `tokenWeight`, and times its share in their mean unless they are apart. */
  const pass = async (params: Params, grads: Params, batch: Batch, how: Accumulation): Promise<number[]> => {
    const { tokenWeight, fresh = false, update } = how
    const factor = floats([], [(tokenWeight * (update ? updates : 1)) / (apart ? 1 : count)])
    const shared = forward.shared(batch)
    const losses: number[] = []
    let x = await forward.embed(params, batch)
    for (let layer = 0; layer < end; layer++) {
      const own = below(blockPrefix(layer), grads)
      const inputs = { params, layer, x, shared, factor, own, fresh: fresh || update !== undefined }
      if (layer < first) x = (await steps.teacher(inputs)).y
      else {
        const found = await (apart || update ? split(inputs, batch, how) : steps.whole(inputs))
        losses.push(await finite(inputs, batch, found.loss))
        x = found.y
      }
    }
    return losses
  }

  /** A layer by the functions of its teacher and of parts of its queries, from which it may learn one after the other. */
  const split = async (inputs: LayerInputs, batch: Batch, { rng, update }: Accumulation) => {
    const { y, heads } = await steps.teacher(inputs)
    if (!update) return { y, loss: await steps.part(inputs, heads, { part: 0, count: 1 }) }
    const paths = Object.keys(inputs.own).map((path) => blockPrefix(inputs.layer) + path)
    let total = 0
    for (const [i, part] of shuffled(updates, rng!.split(inputs.layer)).entries()) {
      total += (await finite(inputs, batch, await steps.part(inputs, heads, { part, count: updates }))) / updates
      update(paths, i)
    }
    return { y, loss: total }
  }

  /** A layer's loss. @throws Error where it is not finite, with the fault that is found, if there is one. */
  const finite = async ({ params, layer }: LayerInputs, batch: Batch, value: number): Promise<number> => {
    if (Number.isFinite(value)) return value
    const fault = await faultOf(device, softmax, params, batch, blocks)
    const why = fault ?? 'its states are finite, so the maps overflow'
    throw new Error(`distillation loss: got ${value} in layer ${layer}: ${why}; lower the learning rate`)
  }

  const positions = (batch: Batch) => imitatedPositions(config, batch)

  return {
    count: positions,
    updates,
    ...(apart && { groups: (path) => layerOf(config, path) ?? -1 }),
    async accumulate(params, grads, batch, how) {
      const total = sum(await pass(params, grads, batch, how))
      return apart ? total / count : total
    },
    async measure(params, all) {
      const totals = new Array<number>(count).fill(0)
      let tokens = 0
      for (const batch of all) {
        const losses = await pass(params, {}, batch, { tokenWeight: apart ? 1 : count })
        for (const [i, value] of losses.entries()) totals[i]! += value
        tokens += positions(batch)
      }
      return totals.map((total) => total / tokens)
    },
    async dispose() {
      await forward.dispose()
      await functions.dispose()
    },
  }
}

/** The real positions of a batch: how many losses a layer has in it. */
function imitatedPositions(config: ModelConfig, { ids, keyMask }: Batch): number {
  const [b, l] = ids.shape as readonly [number, number]
  return keyMask ? keyMask.data.reduce((total, real) => total + real, 0) : b * (l + (familyOf(config).prepended ?? 0))
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** The numbers 0 … n − 1 in random order. */
function shuffled(n: number, rng: Random): number[] {
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = rng.integer(i + 1)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}
