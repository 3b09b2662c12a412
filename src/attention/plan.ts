/** An attention plan: data in a model's config that says what a layer's attention computes. */

import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { repeatHeads } from '../nn/layers.ts'
import { below, type ParamSpecs, prefixed } from '../nn/params.ts'
import { featureMap, featureMaps, type MapName, type MapSizes } from './featureMaps.ts'
import { linearAttention, type MapParams } from './linear.ts'
import { softmaxAttention, type Visibility } from './softmax.ts'

/** What one layer's attention computes. */
export type AttentionPlan = { readonly kind: 'softmax' } | { readonly kind: 'linear'; readonly map: MapName }

/** Queries (b h l d), keys (b h s d) and values (b h s e) of a layer, keys already repeated for grouped queries. */
export interface Heads {
  readonly q: Tensor
  readonly k: Tensor
  readonly v: Tensor
}

/** The attention of a block: heads -> (b h l e). A block takes it as an argument; conversion only exchanges it. */
export type Attend = (heads: Heads) => Tensor

const queryPrefix = 'feature_map_q.'
const keyPrefix = 'feature_map_k.'

/** The parameters that a plan adds to a layer's attention module. */
export function planParams(plan: AttentionPlan, sizes: MapSizes): ParamSpecs {
  if (plan.kind === 'softmax') return {}
  const specs = featureMap(plan.map).params(sizes)
  return { ...prefixed(queryPrefix, specs), ...prefixed(keyPrefix, specs) }
}

/** Whether a parameter, by its full path, belongs to a feature map. */
export function isMapPath(path: string): boolean {
  return [queryPrefix, keyPrefix].some((prefix) => path.startsWith(prefix) || path.includes(`.${prefix}`))
}

/** The maps' parameters among those of an attention module. */
export function mapParams(params: Tensors): MapParams {
  return { q: below(queryPrefix, params), k: below(keyPrefix, params) }
}

/** The attention that a plan describes, with the maps' parameters among `params`. */
export function attendBy(plan: AttentionPlan, params: Tensors, visibility: Visibility): Attend {
  if (plan.kind === 'softmax') return ({ q, k, v }) => softmaxAttention(q, k, v, visibility)
  const map = featureMap(plan.map)
  return ({ q, k, v }) => linearAttention(map, mapParams(params), q, k, v, visibility)
}

/**
 * Heads whose keys and values serve several query heads each (grouped queries).
 * @throws RangeError when the key heads do not divide the query heads.
 */
export function grouped({ q, k, v }: Heads): Heads {
  const times = q.shape[1]! / k.shape[1]!
  if (!Number.isInteger(times)) {
    throw new RangeError(`grouped: got ${q.shape[1]} query heads, want a multiple of the ${k.shape[1]} key heads`)
  }
  return { q, k: repeatHeads(k, times), v: repeatHeads(v, times) }
}

/**
 * A plan from JSON.
 * @throws TypeError or RangeError saying what is wrong at `where`.
 */
export function readPlan(where: string, json: unknown): AttentionPlan {
  const { kind, map } = (json ?? {}) as Record<string, unknown>
  if (kind === 'softmax') return { kind }
  if (kind !== 'linear')
    throw new TypeError(`${where}: got attention kind ${JSON.stringify(kind)}, want softmax or linear`)
  featureMap(String(map), where)
  return { kind, map: map as MapName }
}

/** All map names, for help. */
export const mapNames = Object.keys(featureMaps) as MapName[]
