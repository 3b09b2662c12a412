/** Linearizing: the same model with another attention in its config and feature maps among its parameters. */

import { isMapPath } from '../attention/mapParams.ts'
import { planFor, planNamed } from '../attention/plan.ts'
import type { Params } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { paramSpecs } from '../models/families.ts'
import type { Model, ModelConfig } from '../models/model.ts'
import { initialise, type ParamSpecs } from '../nn/params.ts'

/**
 * A model whose every layer attends by what `name` means; its weights are the same arrays, its maps are new.
 * @param name a feature map or another attention, e.g. `hedgehog`, `elu`, `hybrid:64`, as `planNamed` reads it.
 * @throws RangeError naming what is known.
 */
export function linearize(model: Model, name: string, rng: Random): Model {
  const config = linearized(model.config, name)
  const weights = Object.entries(model.params).filter(([path]) => !isMapPath(path))
  const maps: Params = initialise(mapSpecs(config), rng)
  return { config, params: { ...Object.fromEntries(weights), ...maps } }
}

/** A config whose every layer attends by what `name` means. @throws as {@link linearize} does. */
export function linearized(config: ModelConfig, name: string): ModelConfig {
  const plan = planFor(planNamed(name), config.maxLength)
  return { ...config, attention: config.attention.map(() => plan) }
}

/** The feature maps that a config asks for. */
export function mapSpecs(config: ModelConfig): ParamSpecs {
  return Object.fromEntries(Object.entries(paramSpecs(config)).filter(([path]) => isMapPath(path)))
}
