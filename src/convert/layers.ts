/** Ranges of a model's layers, and those of a shard. */

import type { ModelConfig } from '../models/model.ts'

/** Layers from `first` to before `end`. */
export interface LayerRange {
  readonly first: number
  readonly end: number
}

/** A range, or all layers of a model. @throws RangeError for layers that it lacks, or none. */
export function layersOf(
  { layers }: Pick<ModelConfig, 'layers'>,
  { first, end }: LayerRange = { first: 0, end: layers },
): LayerRange {
  if (first >= 0 && first < end && end <= layers) return { first, end }
  throw new RangeError(`distill: got layers ${first} to ${end}, want some of the model's ${layers}`)
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
