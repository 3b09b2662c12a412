/** Linearizing: the same model with linear attention in its config and feature maps among its parameters. */

import type { MapName } from '../attention/featureMaps.ts'
import { isMapPath } from '../attention/plan.ts'
import type { Params } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { paramSpecs } from '../models/families.ts'
import type { Model } from '../models/model.ts'
import { initialise } from '../nn/params.ts'

/** A model whose every layer attends linearly by `map`; its weights are the same arrays, its maps are new. */
export function linearize(model: Model, map: MapName, rng: Random): Model {
  const attention = model.config.attention.map(() => ({ kind: 'linear', map }) as const)
  const config = { ...model.config, attention }
  const specs = Object.entries(paramSpecs(config)).filter(([path]) => isMapPath(path))
  const weights = Object.entries(model.params).filter(([path]) => !isMapPath(path))
  const maps: Params = initialise(Object.fromEntries(specs), rng)
  return { config, params: { ...Object.fromEntries(weights), ...maps } }
}
