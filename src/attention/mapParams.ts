/** Where the parameters of feature maps stand in an attention module: those of queries and those of keys. */

import type { Tensors } from '../graph/trace.ts'
import { below, type ParamSpecs, prefixed } from '../nn/params.ts'
import type { MapParams } from './linear.ts'
import type { FeatureMap, MapSizes } from './maps/map.ts'

const queryPrefix = 'feature_map_q.'
const keyPrefix = 'feature_map_k.'

/** The path of a hybrid's gate in its module. */
export const gatePath = 'window_gate'

/** The parameters of a map in its module. @param tied one set for queries and keys. */
export function mapSpecs(map: FeatureMap, tied: boolean, sizes: MapSizes): ParamSpecs {
  const specs = map.params(sizes)
  return { ...prefixed(queryPrefix, specs), ...(tied ? {} : prefixed(keyPrefix, specs)) }
}

/** The maps' parameters among those of an attention module; keys use those of queries where they have none. */
export function mapParams(params: Tensors): MapParams {
  const q = below(queryPrefix, params)
  const k = below(keyPrefix, params)
  return { q, k: Object.keys(k).length ? k : q }
}

/** Whether a parameter, by its full path, is learned by distillation: a feature map's, or a hybrid's gate. */
export function isMapPath(path: string): boolean {
  return [queryPrefix, keyPrefix, gatePath].some((part) => path.startsWith(part) || path.includes(`.${part}`))
}
