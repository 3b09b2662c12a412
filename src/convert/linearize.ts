/** Linearizing: the same model with another attention in its config and feature maps among its parameters. */

import { isMapPath } from '../attention/mapParams.ts'
import { planFor, planNamed } from '../attention/plan.ts'
import type { Params } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { paramSpecs } from '../models/families.ts'
import type { Model } from '../models/model.ts'
import { initialise } from '../nn/params.ts'

/**
 * A model whose every layer attends by what `name` means; its weights are the same arrays, its maps are new.
 * @param name a feature map or another attention, e.g. `hedgehog`, `elu`, `hybrid:64`, as `planNamed` reads it.
 * @throws RangeError naming what is known.
 */
export function linearize(model: Model, name: string, rng: Random): Model {
  const plan = planFor(planNamed(name), model.config.maxLength)
  const config = { ...model.config, attention: model.config.attention.map(() => plan) }
  const specs = Object.entries(paramSpecs(config)).filter(([path]) => isMapPath(path))
  const weights = Object.entries(model.params).filter(([path]) => !isMapPath(path))
  const maps: Params = initialise(Object.fromEntries(specs), rng)
  return { config, params: { ...Object.fromEntries(weights), ...maps } }
}
