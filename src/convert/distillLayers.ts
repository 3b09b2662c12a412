/** Distillation as a job on some layers of a model, whose weights are read as they are needed. */

import { isMapPath } from '../attention/mapParams.ts'
import type { Params } from '../base/array.ts'
import type { Job } from '../base/progress.ts'
import type { BlockSource } from '../execute/blocks.ts'
import type { ModelConfig } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import type { StageHost } from '../train/stage.ts'
import type { CurvePoint } from '../train/train.ts'
import { createDistillation } from './distill.ts'
import { type LayerRange, layerRange } from './layers.ts'
import { type DistillRecipe, runMaps, textLearning } from './stages.ts'

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
  readonly recipe: DistillRecipe
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

/** Distils the maps of some layers: together or in shards, they end in the same maps. @throws what training throws. */
export async function* distillLayers(job: LayersJob): Job<DistilledLayers> {
  const { device, config, blocks, layers, recipe } = job
  const { loss, updates = 1 } = recipe
  const objective = createDistillation(device, config, { loss, updates, layers, apart: true, blocks })
  const learning = textLearning(recipe, job.trainTokens, job.validationTokens)
  const measured = (params: Params) => objective.measure(params, learning.validate.batches)
  try {
    const { params, curve, seconds } = yield* runMaps(job, 'maps', objective, job.params, learning)
    // Only now, so that a job that goes on does not wait for it.
    const before = await measured(job.params)
    const after = await measured(params)
    const maps = Object.fromEntries(Object.entries(params).filter(([path]) => isMapPath(path)))
    const found = layerRange(layers).map((layer, i) => ({ layer, before: before[i]!, after: after[i]! }))
    return { maps, layers: found, curve, seconds }
  } finally {
    await objective.dispose()
  }
}
