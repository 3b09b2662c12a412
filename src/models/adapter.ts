/** Low-rank adapters in a model's config: which linear layers of its blocks they change, and by which parameters. */

import { mul } from '../graph/ops.ts'
import type { Tensors } from '../graph/trace.ts'
import type { ParamSpec, ParamSpecs } from '../nn/params.ts'

/** W + alpha / rank · B A in place of each target's W (LoRA, arXiv 2106.09685). */
export interface AdapterConfig {
  /** Rows of A and columns of B, from 1. */
  readonly rank: number
  /** The scale is alpha / rank, above 0. */
  readonly alpha: number
  /** Share of what A reads that is dropped in training, 0 ≤ rate < 1. */
  readonly dropout: number
  /**
   * The linear layers of blocks that it changes: by path, such as `layers.0.self_attn.q_proj`, or the end of one, such as
   * `q_proj` or `attn.c_proj`; `all-linear` for all.
   */
  readonly targets: readonly string[] | 'all-linear'
}

const [halfA, halfB] = ['.lora_A.weight', '.lora_B.weight']

/** Whether a parameter, by its full path, belongs to an adapter. */
export function isAdapterPath(path: string): boolean {
  return path.endsWith(halfA) || path.endsWith(halfB)
}

/** The paths of the linear layers that a description of parameters has, with their weights. */
export function linearModules(specs: ParamSpecs): Record<string, ParamSpec> {
  return Object.fromEntries(
    Object.entries(specs).flatMap(([path, spec]) =>
      spec.inputAxis !== undefined && path.endsWith('.weight') ? [[path.slice(0, -'.weight'.length), spec]] : [],
    ),
  )
}

/**
 * What an adapter adds to the parameters of a model's blocks: `<module>.lora_A.weight` (r i) and `<module>.lora_B.weight`
 * (o r), whatever order the weight itself is stored in. B begins as zeros, so that nothing is changed.
 * @throws RangeError for a target that is no linear layer of the blocks, naming those that are.
 */
export function adapterParams(blocks: ParamSpecs, { rank, targets }: AdapterConfig): ParamSpecs {
  const modules = linearModules(blocks)
  if (targets !== 'all-linear') checkTargets(targets, Object.keys(modules))
  const specs: Record<string, ParamSpec> = {}
  for (const [module, { shape, inputAxis }] of Object.entries(modules)) {
    if (targets !== 'all-linear' && !targets.some((target) => isAt(module, target))) continue
    const [inputs, outputs] = [shape[inputAxis!]!, shape[1 - inputAxis!]!]
    // As wide as torch's Linear begins: uniform up to 1/√i has this deviation.
    specs[module + halfA] = { shape: [rank, inputs], initial: { normal: 1 / Math.sqrt(3 * inputs) } }
    specs[module + halfB] = { shape: [outputs, rank], initial: 'zeros' }
  }
  return specs
}

/** Parameters of a block as its layers read them: the adapter's scale is put into B, which is smaller than any activation. */
export function scaledAdapters(adapter: AdapterConfig | undefined, params: Tensors): Tensors {
  if (!adapter) return params
  const scale = adapter.alpha / adapter.rank
  return Object.fromEntries(
    Object.entries(params).map(([path, tensor]) => [path, path.endsWith(halfB) ? mul(tensor, scale) : tensor]),
  )
}

/** The pairs of an adapter among parameters: the path of the weight that each changes, and of its halves. */
export function adapterPairs(paths: readonly string[]): { weight: string; a: string; b: string }[] {
  return paths.flatMap((path) => {
    if (!path.endsWith(halfA)) return []
    const module = path.slice(0, -halfA.length)
    return [{ weight: `${module}.weight`, a: path, b: module + halfB }]
  })
}

/** Keys of {@link adapterJson} as PEFT names them. */
const keys = { rank: 'r', alpha: 'lora_alpha', dropout: 'lora_dropout', targets: 'target_modules' } as const

/** An adapter's description with PEFT's names, for a config.json. */
export function adapterJson({ rank, alpha, dropout, targets }: AdapterConfig): Readonly<Record<string, unknown>> {
  const values = { [keys.rank]: rank, [keys.alpha]: alpha, [keys.dropout]: dropout, [keys.targets]: targets }
  return { peft_type: 'LORA', ...values }
}

/** Reads what {@link adapterJson} wrote. @throws Error naming the key that is wrong. */
export function readAdapterConfig(where: string, json: unknown): AdapterConfig {
  const found = Object(json) as Record<string, unknown>
  const targets = found[keys.targets]
  const isList = Array.isArray(targets) && targets.every((target) => typeof target === 'string')
  if (targets !== 'all-linear' && !isList) {
    throw new Error(`${where}.${keys.targets}: got ${JSON.stringify(targets)}, want paths or "all-linear"`)
  }
  const [rank, alpha, dropout] = ([keys.rank, keys.alpha, keys.dropout] as const).map((key) => found[key])
  return checkedAdapter(where, { rank, alpha, dropout, targets } as AdapterConfig)
}

/** The adapter itself. @throws RangeError naming the setting that is out of range. */
export function checkedAdapter(where: string, adapter: AdapterConfig): AdapterConfig {
  const { rank, alpha, dropout, targets } = adapter
  const check = (name: string, value: unknown, fits: boolean, want: string) => {
    if (!fits) throw new RangeError(`${where}: ${name}: got ${JSON.stringify(value)}, want ${want}`)
  }
  check('rank', rank, Number.isInteger(rank) && rank >= 1, 'a whole number from 1')
  check('alpha', alpha, typeof alpha === 'number' && alpha > 0 && alpha < Infinity, 'a number above 0')
  check('dropout', dropout, typeof dropout === 'number' && dropout >= 0 && dropout < 1, 'a rate from 0 and below 1')
  check('targets', targets, targets.length > 0, 'at least one')
  return adapter
}

function checkTargets(targets: readonly string[], modules: readonly string[]): void {
  const wrong = targets.find((target) => !modules.some((module) => isAt(module, target)))
  if (wrong === undefined) return
  const names = [...new Set(modules.map((module) => module.slice(module.lastIndexOf('.') + 1)))]
  throw new RangeError(
    `adapter: target ${wrong} is no linear layer of a block, want all-linear or some of ${names.join(', ')}`,
  )
}

function isAt(module: string, target: string): boolean {
  return module === target || module.endsWith(`.${target}`)
}
