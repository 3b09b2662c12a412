/** Stage 1: feature maps learn to imitate softmax attention, all layers in one pass, the teacher's outputs passed on. */

import { type DistillLoss, type Imitation, imitation, queryPart } from '../attention/distillation.ts'
import type { Heads } from '../attention/heads.ts'
import { attentionOf } from '../attention/plan.ts'
import { softmaxAttention } from '../attention/softmax.ts'
import { type FloatArray, floats, type NDArray, type Params } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { blockInputs, blockKey, functionCache, traceBlock } from '../execute/blocks.ts'
import { faultOf } from '../execute/fault.ts'
import { createForward } from '../execute/forward.ts'
import type { Accumulation, Batch, Objective } from '../execute/objective.ts'
import { gradients } from '../graph/gradient.ts'
import { mean, mul, reshape, slice, sum } from '../graph/ops.ts'
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
    const student = studentOf(config, layer)
    let loss: Tensor | undefined
    const y = traceBlock(config, layer, inputs, {
      attend: (params, visibility) => (heads) => {
        const found = imitation(student, params, heads, visibility, kind)
        loss = summed(found, factor!, visibility.keyMask)
        return found.y
      },
    })
    return { y, ...withGradients(loss!, inputs, trained) }
  }
}

/** One layer's teacher: from {@link blockInputs} and the shared inputs its output `y`, and the heads that it attends with. */
function layerTeacher(config: ModelConfig, layer: number) {
  return (inputs: Tensors): Tensors => {
    let heads: Heads | undefined
    const y = traceBlock(config, layer, inputs, {
      attend: (_params, visibility) => (given) => {
        heads = given
        return softmaxAttention(given.q, given.k, given.v, visibility)
      },
    })
    return { y, ...heads! }
  }
}

/** Which of a layer's queries are imitated: one of `count` equal parts. */
interface Part {
  readonly part: number
  readonly count: number
}

/** The loss on a part of a layer's queries and its gradients, from the teacher's heads and the maps. */
function partImitation(config: ModelConfig, layer: number, kind: DistillLoss, trained: readonly string[], at: Part) {
  return ({ q, k, v, factor, keyMask, ...inputs }: Tensors): Tensors => {
    const heads = queryPart({ q: q!, k: k!, v: v! }, at.part, at.count)
    const end = heads.k.shape[2]!
    const upTo = keyMask && slice(keyMask, 1, 0, end)
    const params = below(familyOf(config).attentionPrefix, below('p.', inputs))
    const found = imitation(
      studentOf(config, layer),
      params,
      heads,
      { causal: true, ...(upTo && { keyMask: upTo }) },
      kind,
    )
    const loss = summed(found, factor!, upTo && slice(upTo, 1, end - heads.q.shape[2]!, end))
    return withGradients(loss, inputs, trained)
  }
}

function studentOf(config: ModelConfig, layer: number) {
  const plan = config.attention[layer]!
  if (!('map' in plan)) throw new RangeError(`distill: layer ${layer} attends by ${plan.kind}, want a feature map`)
  return attentionOf(plan)
}

/** The mean over heads, summed over real queries, times a factor. */
function summed(found: Imitation, factor: Tensor, real?: Tensor): Tensor {
  const perQuery = mean(found.loss, [1])
  return mul(sum(real ? mul(perQuery, reshape(real, perQuery.shape)) : perQuery, undefined, false), factor)
}

function withGradients(loss: Tensor, inputs: Tensors, trained: readonly string[]): Tensors {
  const wrt = trained.map((path) => inputs[`p.${path}`]!)
  const d = trained.length ? gradients(loss, wrt) : []
  return { loss, ...Object.fromEntries(trained.map((path, i) => [`d.${path}`, d[i]!])) }
}

/** The real positions of a batch: how many losses a layer has in it. */
export function imitatedPositions(config: ModelConfig, { ids, keyMask }: Batch): number {
  const [b, l] = ids.shape as readonly [number, number]
  return keyMask ? keyMask.data.reduce((sum, real) => sum + real, 0) : b * (l + (familyOf(config).prepended ?? 0))
}

/** A layer's loss. @throws Error where it is not finite, with the fault that is found, if there is one. */
export async function finiteLoss(
  layer: number,
  loss: number,
  fault: () => Promise<string | undefined>,
): Promise<number> {
  if (Number.isFinite(loss)) return loss
  const why = (await fault()) ?? 'its states are finite, so the maps overflow'
  throw new Error(`distillation loss: got ${loss} in layer ${layer}: ${why}; lower the learning rate`)
}

/** Options of {@link createDistillation}. */
export interface DistillationOptions {
  /** Default `cross-entropy`. */
  readonly loss?: DistillLoss
  readonly kernels?: Kernels
  /**
   * How often a batch's maps are updated, from 1: its queries are cut into so many parts, and the maps of a layer learn
   * from one after the other. The teacher's pass, which costs most, is paid once. Default 1.
   */
  readonly updates?: number
}

/**
 * Attention distillation of a linearized config: the mean over real queries, heads and layers of the student's loss.
 * Gradients reach feature maps only, and none crosses a layer: each layer and head is a problem of its own.
 * @throws RangeError when a layer's attention has no feature map.
 */
export function createDistillation(
  device: Device,
  config: ModelConfig,
  options: DistillationOptions = {},
): Distillation {
  const { loss: kind = 'cross-entropy', kernels = plainKernels, updates = 1 } = options
  if (updates > 1 && !config.causal) {
    throw new TypeError(
      `distill: got ${updates} updates in a batch of a ${config.family} model, want a causal one; leave them at 1`,
    )
  }
  const family = familyOf(config)
  const forward = createForward(device, config)
  const functions = functionCache(device)

  const layerOf = (layer: number, trained: readonly string[]) =>
    functions.get(`${blockKey(config, layer)} ${trained}`, () => layerImitation(config, layer, kind, trained))

  const checked = (params: Params, batch: Batch, layer: number, { data }: NDArray) =>
    finiteLoss(layer, data[0]!, () => faultOf(device, config, params, batch))

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
      await checked(params, batch, layer, loss!)
      total += loss!.data[0]!
      x = y as FloatArray
    }
    return total
  }

  /** One pass in which every layer learns from its parts in random order, before the next layer is read. */
  const learn = async (
    params: Params,
    grads: Params,
    batch: Batch,
    { tokenWeight, rng, update }: Accumulation,
  ): Promise<number> => {
    const factor = floats([], [(tokenWeight * updates) / config.layers])
    const { keyMask, ...shared } = forward.shared(batch)
    let x = await forward.embed(params, batch)
    let total = 0
    for (let layer = 0; layer < config.layers; layer++) {
      const prefix = family.blockPrefix(layer)
      const own = below(prefix, grads)
      const paths = Object.keys(own)
      const key = blockKey(config, layer)
      const teacher = functions.get(`${key} teacher`, () => layerTeacher(config, layer))
      const mask = keyMask && { keyMask }
      const { y, ...heads } = await teacher({ x, ...shared, ...mask, ...blockInputs(config, params, layer) })
      const maps = prefixed('p.', Object.fromEntries(paths.map((path) => [path, params[prefix + path]!])))
      for (const [i, part] of shuffled(updates, rng!.split(layer)).entries()) {
        const at = { part, count: updates }
        const build = () => partImitation(config, layer, kind, paths, at)
        const run = functions.get(`${key} ${paths} ${part}`, build)
        const { loss } = await run({ ...heads, ...mask, ...maps, factor }, prefixed('d.', own))
        await checked(params, batch, layer, loss!)
        total += loss!.data[0]! / updates
        update!(
          paths.map((path) => prefix + path),
          i,
        )
      }
      x = y as FloatArray
    }
    return total
  }

  const count = (batch: Batch) => imitatedPositions(config, batch)

  return {
    count,
    updates,
    accumulate: (params, grads, batch, how) =>
      how.update ? learn(params, grads, batch, how) : pass(params, grads, batch, how.tokenWeight, how.fresh ?? false),
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

/** The numbers 0 … n − 1 in random order. */
function shuffled(n: number, rng: Random): number[] {
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = rng.integer(i + 1)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}
