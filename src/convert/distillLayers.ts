/** Distillation of some layers of a model, each a problem of its own: together or apart, they end in the same maps. */

import type { DistillLoss } from '../attention/distillation.ts'
import { isMapPath } from '../attention/mapParams.ts'
import { type FloatArray, floats, type NDArray, type Params } from '../base/array.ts'
import type { Job } from '../base/progress.ts'
import { type BlockSource, blockKey, functionCache, readBlock } from '../execute/blocks.ts'
import { faultOf } from '../execute/fault.ts'
import { createForward } from '../execute/forward.ts'
import type { Batch, Objective } from '../execute/objective.ts'
import { batches, heldOut } from '../io/batches.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'
import { type Recipe, stepOptions } from '../train/pretrain.ts'
import { runStage, type StageHost } from '../train/stage.ts'
import { type CurvePoint, train } from '../train/train.ts'
import { finiteLoss, imitatedPositions, layerImitation } from './distill.ts'

/** Layers from `first` to before `end`. */
export interface LayerRange {
  readonly first: number
  readonly end: number
}

/** An objective over some layers. */
export interface LayerDistillation extends Objective {
  count(batch: Batch): number
  /** The mean loss of each of the layers over batches, without gradients. */
  measure(params: Params, batches: Iterable<Batch>): Promise<number[]>
}

/**
 * Attention distillation of some layers of a linearized config. Layers get the states of plain softmax layers, so that what
 * one learns does not depend on which others are distilled beside it; layers from `end` on are not read.
 */
export function createLayerDistillation(
  device: Device,
  config: ModelConfig,
  { first, end }: LayerRange,
  options: { readonly loss?: DistillLoss; readonly kernels?: Kernels; readonly blocks?: BlockSource } = {},
): LayerDistillation {
  const { loss: kind = 'cross-entropy', kernels = plainKernels, blocks: source } = options
  const family = familyOf(config)
  const softmax = { ...config, attention: config.attention.map(() => ({ kind: 'softmax' as const })) }
  const teacher = createForward(device, softmax, source && { blocks: source })
  const functions = functionCache(device)

  const lossOf = (layer: number, trained: readonly string[]) =>
    functions.get(`${blockKey(config, layer)} ${trained}`, () => (inputs) => {
      const { y: _, ...found } = layerImitation(config, layer, kind, trained)(inputs)
      return found
    })

  /** The losses of the layers; `grads` without paths means that they are measured only. */
  const pass = async (params: Params, grads: Params, batch: Batch, weight: number, fresh: boolean) => {
    const factor = floats([], [weight])
    const shared = teacher.shared(batch)
    const losses: number[] = []
    let x = await teacher.embed(params, batch)
    for (let layer = 0; layer < end; layer++) {
      if (layer >= first) {
        const weights = await readBlock(config, params, layer, { source, next: (layer + 1) % end })
        const own = below(family.blockPrefix(layer), grads)
        const into: Arrays = fresh ? prefixed('d.', own) : {}
        const { loss, ...d } = await lossOf(layer, Object.keys(own))({ x, factor, ...shared, ...weights }, into)
        if (!fresh) add(kernels, own, below('d.', d))
        losses.push(await checked(params, batch, layer, loss!.data[0]!))
      }
      if (layer + 1 < end) x = await teacher.block(params, layer, x, shared)
    }
    return losses
  }

  const checked = (params: Params, batch: Batch, layer: number, loss: number) =>
    finiteLoss(layer, loss, () => faultOf(device, softmax, params, batch, source))

  const count = (batch: Batch) => imitatedPositions(config, batch)

  return {
    count,
    async accumulate(params, grads, batch, { tokenWeight, fresh = false }) {
      const losses = await pass(params, grads, batch, tokenWeight, fresh)
      return losses.reduce((total, loss) => total + loss, 0) / losses.length
    },
    async measure(params, all) {
      const totals = new Array<number>(end - first).fill(0)
      let tokens = 0
      for (const batch of all) {
        for (const [i, loss] of (await pass(params, {}, batch, 1, false)).entries()) totals[i]! += loss
        tokens += count(batch)
      }
      return totals.map((total) => total / tokens)
    },
    async dispose() {
      await teacher.dispose()
      await functions.dispose()
    },
  }
}

function add(kernels: Kernels, into: Params, found: Readonly<Record<string, NDArray>>): void {
  for (const [path, gradient] of Object.entries(found)) kernels.add(into[path]!, gradient as FloatArray)
}

/** What {@link distillLayers} works on. */
export interface LayersJob extends StageHost {
  readonly device: Device
  /** The linearized config. */
  readonly config: ModelConfig
  /** Parameters outside of blocks, and the maps of the layers as they begin. */
  readonly params: Params
  /** Has the parameters of the blocks. */
  readonly blocks: BlockSource
  readonly layers: LayerRange
  readonly trainTokens: Int32Array
  readonly validationTokens: Int32Array
  readonly recipe: Recipe & { readonly loss: DistillLoss }
}

/** A layer before and after, by its held-out loss. */
export interface DistilledLayer {
  readonly layer: number
  readonly before: number
  readonly after: number
}

/** What distillation ends with. */
export interface DistilledLayers {
  readonly maps: Params
  readonly layers: readonly DistilledLayer[]
  readonly curve: readonly CurvePoint[]
  readonly seconds: number
}

/** Held-out batches that losses are measured on. */
const validationBatches = 4

/** Distils the maps of some layers. @throws what training throws. */
export async function* distillLayers(job: LayersJob): Job<DistilledLayers> {
  const { device, config, params, blocks, layers, recipe } = job
  const objective = createLayerDistillation(device, config, layers, { loss: recipe.loss, blocks })
  const validation = [...heldOut(job.validationTokens, recipe)].slice(0, validationBatches)
  const { blockPrefix } = familyOf(config)
  const layerOf = (path: string) => layerRange(layers).find((layer) => path.startsWith(blockPrefix(layer))) ?? -1
  const mean = (losses: readonly number[]) => losses.reduce((sum, loss) => sum + loss, 0) / losses.length
  try {
    const before = await objective.measure(params, validation)
    const trained = yield* runStage(job, 'maps', 'distill', (run) =>
      train(objective, params, {
        ...run,
        ...stepOptions(recipe),
        batches: batches(job.trainTokens, recipe),
        trains: isMapPath,
        groups: layerOf,
        validate: {
          every: recipe.validateEvery ?? recipe.steps,
          loss: async (current: Params) => mean(await objective.measure(current, validation)),
        },
      }),
    )
    const after = await objective.measure(trained.params, validation)
    const maps = Object.fromEntries(Object.entries(trained.params).filter(([path]) => isMapPath(path)))
    const measured = layerRange(layers).map((layer, i) => ({ layer, before: before[i]!, after: after[i]! }))
    return { maps, layers: measured, curve: trained.curve, seconds: trained.seconds }
  } finally {
    await objective.dispose()
  }
}

/** The layers of a range, one by one. */
export function layerRange({ first, end }: LayerRange): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i)
}

/**
 * The layers of a shard, as even as they go.
 * @param shard counted from 1
 * @throws RangeError when there are more shards than layers.
 */
export function layersOfShard(
  layers: number,
  { shard, shards }: { readonly shard: number; readonly shards: number },
): LayerRange {
  if (shards > layers) throw new RangeError(`got ${shards} shards of ${layers} layers, want at most one for each layer`)
  return { first: Math.floor(((shard - 1) * layers) / shards), end: Math.floor((shard * layers) / shards) }
}
