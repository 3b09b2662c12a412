/** LoRA: low-rank adapters added to a model and trained beside its frozen weights (arXiv 2106.09685). */

import { isMapPath } from '../attention/mapParams.ts'
import { type Random, random } from '../base/random.ts'
import type { Adapter } from '../io/adapters.ts'
import {
  type AdapterConfig,
  adapterPairs,
  adapterParams,
  checkedAdapter,
  isAdapterPath,
  linearModules,
} from '../models/adapter.ts'
import { checkParams, familyOf, paramSpecs } from '../models/families.ts'
import { type ModelFiles, shapesOf, withParams } from '../models/files.ts'
import type { Model, ModelConfig } from '../models/model.ts'
import { isPooled } from '../models/task.ts'
import { initialise } from '../nn/params.ts'

/** Options of {@link addLora}. */
export interface LoraOptions {
  /** Rows of A and columns of B. Default 8. */
  readonly rank?: number
  /** What the low-rank product is multiplied by, times the rank. Default 16. */
  readonly alpha?: number
  /** Share of what A reads that is dropped in training. Default 0. */
  readonly dropout?: number
  /** Linear layers by path or the end of one, or `all-linear`. Default: those of every attention module. */
  readonly targets?: readonly string[] | 'all-linear'
  /** Scale by alpha / √rank, so that large ranks learn as fast as small ones (arXiv 2312.03732). Default false. */
  readonly rankStabilized?: boolean
}

/**
 * A model with an adapter beside its weights, which are the same arrays. B is zero, so that it computes what it did.
 * @throws RangeError for an option that is out of range or a target that the model lacks; Error when it has an adapter.
 */
export function addLora({ config, params }: Model, options: LoraOptions, rng: Random): Model {
  if (config.adapter) throw new Error('addLora: the model has an adapter; merge it first')
  const { rank = 8, dropout = 0, rankStabilized = false } = options
  const alpha = (options.alpha ?? 16) * (rankStabilized ? Math.sqrt(rank) : 1)
  const targets = options.targets ?? attentionTargets(config)
  const adapter: AdapterConfig = checkedAdapter('addLora', { rank, alpha, dropout, targets })
  const added = initialise(adapterParams(paramSpecs(config), adapter), rng)
  return { config: { ...config, adapter }, params: { ...params, ...added } }
}

/**
 * A model with an adapter that was read from files, such as one of PEFT.
 * @throws RangeError naming a target that the model lacks; Error naming tensors that do not fit, or when it has an adapter.
 */
export function attachAdapter(files: ModelFiles, { rank, alpha, targets, tensors }: Adapter): ModelFiles {
  const { config } = addLora({ config: files.config, params: {} }, { rank, alpha, targets }, random(0))
  const attached = withParams(files, { config, params: tensors })
  checkParams('adapter', config, shapesOf(attached))
  return attached
}

/** The adapter of a model for files, with whether it changes weights that are stored (i o), as PEFT's `fan_in_fan_out` says. */
export function detachedAdapter({ config, params }: Model): { adapter: Adapter; fanInFanOut: boolean } {
  const { rank, alpha } = adapterOf('detachedAdapter', config)
  const tensors = Object.fromEntries(Object.entries(params).filter(([path]) => isAdapterPath(path)))
  const modules = linearModules(paramSpecs(config))
  const targets = adapterPairs(Object.keys(tensors)).map(({ weight }) => weight.slice(0, -'.weight'.length))
  const fanInFanOut = targets.every((target) => modules[target]?.inputAxis === 0)
  return { adapter: { rank, alpha, targets: targets.sort(), tensors }, fanInFanOut }
}

/**
 * Which parameters learn beside frozen weights, for the `trains` of a training: the adapter's, feature maps', and the end
 * of a task that the model was not pretrained for.
 */
export function adapterTrains(config: ModelConfig): (path: string) => boolean {
  const ends = isPooled(config.task) ? familyOf(config).ends : []
  return (path) => isAdapterPath(path) || isMapPath(path) || ends.some((prefix) => path.startsWith(prefix))
}

/** The adapter's description. @throws TypeError when the model has none. */
export function adapterOf(where: string, { adapter }: ModelConfig): AdapterConfig {
  if (adapter) return adapter
  throw new TypeError(`${where}: the model has no adapter`)
}

/** The linear layers of an attention module, by their paths in a block, which are the same in all. */
function attentionTargets(config: ModelConfig): string[] {
  const { attentionPrefix, blockParams } = familyOf(config)
  return Object.keys(linearModules(blockParams(config, 0))).filter((module) => module.startsWith(attentionPrefix))
}
