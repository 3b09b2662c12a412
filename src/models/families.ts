/** The table of model families, and what holds for all of them: all parameters, initial values, checks. */

import type { Random } from '../base/random.ts'
import { initialise, type ParamSpecs, prefixed } from '../nn/params.ts'
import { adapterParams, readAdapterConfig } from './adapter.ts'
import { bert } from './bert.ts'
import { gpt2 } from './gpt2.ts'
import { llama, mistral, qwen2 } from './llama.ts'
import type { Family, Json, Model, ModelConfig, Task } from './model.ts'
import { taskJson } from './task.ts'
import { vit } from './vit.ts'

export const families: Readonly<Record<string, Family>> = { gpt2, llama, mistral, qwen2, bert, vit }

/** The family of a config. @throws Error naming the known families. */
export function familyOf({ family }: Pick<ModelConfig, 'family'>): Family {
  const found = Object.hasOwn(families, family) ? families[family] : undefined
  if (found) return found
  throw new Error(
    `config.json: model_type: got ${JSON.stringify(family)}, want one of ${Object.keys(families).join(', ')}`,
  )
}

/** A config from a config.json, ours or a plain Hugging Face one. @throws Error naming the key at fault. */
export function readConfig(json: Json): ModelConfig {
  const config = familyOf({ family: familyName(json) }).readConfig(json)
  const adapter = (json.hedgehog as Json | undefined)?.adapter
  return adapter ? { ...config, adapter: readAdapterConfig('config.json: hedgehog.adapter', adapter) } : config
}

function familyName({ model_type: type }: Json): string {
  return String(type).replace(/^hedgehog_/, '')
}

/** A task in place of the one that a config names. */
export interface TaskChoice {
  readonly task: Task
  /** Classes of a classification. Default: those of the config, or 2. */
  readonly labels?: number
}

/** The config.json of the same model for another task. @throws Error when the family has no end for it. */
export function jsonFor(json: Json, { task, labels }: TaskChoice): Json {
  const known = json.id2label && typeof json.id2label === 'object' ? Object.keys(json.id2label).length : 2
  const { architectures } = familyOf({ family: familyName(json) })
  return taskJson(json, architectures, task, labels ?? known)
}

/**
 * The same model for another task: it keeps all parameters that both ask for, and the new end has initial values.
 * @throws Error when the family has no end for the task.
 */
export function withTask({ config, params }: Model, choice: TaskChoice, rng: Random): Model {
  const json = jsonFor(familyOf(config).writeConfig(config), choice)
  const next = readConfig(json)
  const specs = Object.entries(paramSpecs(next))
  const fresh = specs.filter(([path, { shape }]) => `${params[path]?.shape}` !== `${shape}`)
  const made = initialise(Object.fromEntries(fresh), rng)
  return { config: next, params: Object.fromEntries(specs.map(([path]) => [path, made[path] ?? params[path]!])) }
}

/** The parameters a config asks for, by checkpoint path. */
export function paramSpecs(config: ModelConfig): ParamSpecs {
  const family = familyOf(config)
  const blocks = Array.from({ length: config.layers }, (_, layer) =>
    prefixed(family.blockPrefix(layer), family.blockParams(config, layer)),
  )
  const all: ParamSpecs = Object.assign({}, ...blocks)
  return { ...family.outerParams(config), ...all, ...(config.adapter && adapterParams(all, config.adapter)) }
}

/** A model with initial values. */
export function newModel(config: ModelConfig, rng: Random): Model {
  return { config, params: initialise(paramSpecs(config), rng) }
}

/**
 * Whether parameters are exactly those that a config asks for.
 * @throws Error listing every missing, extra and mis-shaped path at once.
 */
export function checkParams(
  where: string,
  config: ModelConfig,
  params: Readonly<Record<string, { shape: readonly number[] }>>,
): void {
  const specs = paramSpecs(config)
  const missing = Object.keys(specs).filter((path) => !(path in params))
  const extra = Object.keys(params).filter((path) => !(path in specs))
  const shaped = Object.keys(specs).flatMap((path) => {
    const got = params[path]?.shape
    return got && `${got}` !== `${specs[path]!.shape}` ? [`${path} is [${got}], want [${specs[path]!.shape}]`] : []
  })
  const faults = [
    missing.length ? `missing ${list(missing)}` : '',
    extra.length ? `not of this model ${list(extra)}` : '',
    shaped.length ? `of another shape ${list(shaped)}` : '',
  ].filter(Boolean)
  if (faults.length) throw new Error(`${where}: tensors do not fit config.json: ${faults.join('; ')}`)
}

function list(names: readonly string[]): string {
  return names.length <= 6 ? names.join(', ') : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`
}
