/** LoRA: low-rank adapters added to a model, trained beside its frozen weights, and merged into them (arXiv 2106.09685). */

import { isMapPath } from '../attention/mapParams.ts'
import { type FloatArray, ints, type Params } from '../base/array.ts'
import { type Random, random } from '../base/random.ts'
import { createForward } from '../execute/forward.ts'
import { add, matmul, mul, transpose } from '../graph/ops.ts'
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
import type { Model, ModelConfig, ModelInputs } from '../models/model.ts'
import { isLanguage, isPooled } from '../models/task.ts'
import { initialise } from '../nn/params.ts'
import { compile } from '../runtime/compile.ts'
import type { Device } from '../runtime/device.ts'

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
export function attachAdapter(model: Model, { rank, alpha, targets, tensors }: Adapter): Model {
  const begun = addLora(model, { rank, alpha, targets }, random(0))
  const params = { ...model.params, ...tensors }
  checkParams('adapter', begun.config, params)
  return { config: begun.config, params }
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

/** Options of {@link mergeLora}. */
export interface MergeOptions {
  /** What merged and unmerged model are compared on. Default: two sequences of random tokens. */
  readonly probe?: ModelInputs
  /** The largest difference that is accepted, as a share of the largest result. Default 1e-3. */
  readonly tolerance?: number
}

/**
 * The same model with W + alpha / rank · B A in place of W, and no adapter; other arrays stay the same.
 * @throws Error when the merged model computes something else on the probe; TypeError without an adapter, or without
 * a probe for a model that reads no tokens.
 */
export async function mergeLora(
  device: Device,
  model: Model,
  { probe = defaultProbe(model.config), tolerance = 1e-3 }: MergeOptions = {},
): Promise<Model> {
  const { adapter: _, ...config } = model.config
  const adapter = adapterOf('mergeLora', model.config)
  const merged: Model = { config, params: await mergedParams(device, model, adapter) }
  const [want, got] = [await results(device, model, probe), await results(device, merged, probe)]
  // Math.max gives NaN where one of its arguments is NaN, and NaN is within no tolerance.
  const most = (values: Float32Array) => values.reduce((found, value) => Math.max(found, Math.abs(value)), 0)
  const largest = most(want)
  const difference = most(want.map((value, i) => value - got[i]!))
  if (difference <= tolerance * largest) return merged
  throw new Error(
    `mergeLora: results differ by ${difference} from those of the unmerged model, want at most ${tolerance * largest}; ` +
      'keep the adapter beside the weights',
  )
}

async function mergedParams(device: Device, { config, params }: Model, adapter: AdapterConfig): Promise<Params> {
  const modules = linearModules(paramSpecs(config))
  const merge = [0, 1].map((inputAxis) =>
    compile(device, ({ weight, a, b }) => {
      const change = mul(matmul(b!, a!), adapter.alpha / adapter.rank)
      return { merged: add(weight!, inputAxis === 1 ? change : transpose(change)) }
    }),
  )
  const merged: Record<string, FloatArray> = { ...params }
  for (const { weight, a, b } of adapterPairs(Object.keys(params))) {
    const { inputAxis } = modules[weight.slice(0, -'.weight'.length)]!
    const inputs = { weight: params[weight]!, a: params[a]!, b: params[b]! }
    merged[weight] = (await merge[inputAxis!]!(inputs)).merged as FloatArray
    delete merged[a]
    delete merged[b]
  }
  for (const compiled of merge) await compiled.dispose()
  return merged
}

function adapterOf(where: string, { adapter }: ModelConfig): AdapterConfig {
  if (adapter) return adapter
  throw new TypeError(`${where}: the model has no adapter`)
}

/** What a model computes: logits, or states where its task has none. */
async function results(device: Device, { config, params }: Model, inputs: ModelInputs): Promise<Float32Array> {
  const forward = createForward(device, config)
  try {
    if (isPooled(config.task)) return (await forward.classify(params, inputs)).data
    const h = await forward.hidden(params, inputs)
    return (isLanguage(config.task) ? await forward.logits(params, h) : h).data
  } finally {
    await forward.dispose()
  }
}

function defaultProbe(config: ModelConfig): ModelInputs {
  if (familyOf(config).lookups.length === 0) throw new TypeError('mergeLora: probe is missing; give a batch of patches')
  const rng = random(0).split('probe')
  const length = Math.min(16, config.maxLength)
  const ids = Int32Array.from({ length: 2 * length }, () => rng.integer(config.vocab))
  return { ids: ints([2, length], ids) }
}

/** The linear layers of an attention module, by their paths in a block, which are the same in all. */
function attentionTargets(config: ModelConfig): string[] {
  const { attentionPrefix, blockParams } = familyOf(config)
  return Object.keys(linearModules(blockParams(config, 0))).filter((module) => module.startsWith(attentionPrefix))
}
