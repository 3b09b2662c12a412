/** LoRA adapters as files: PEFT's, read and written, and mlx-lm's, read. */

import { type FloatArray, type Params, transposed } from '../base/array.ts'
import type { Sink, Source } from './files.ts'
import { readJsonObject, show } from './json.ts'
import { openSafetensors, writeSafetensors } from './safetensors.ts'
import type { Checkpoint } from './tensors.ts'
import { openTorch } from './torchFile.ts'

/**
 * Low-rank changes of linear layers: W x + alpha / rank · B A x for each target (arXiv 2106.09685).
 * `tensors` has `<target>.lora_A.weight` (r i) and `<target>.lora_B.weight` (o r), whatever order W itself is stored in.
 */
export interface Adapter {
  readonly rank: number
  readonly alpha: number
  /** Paths of the modules it changes, sorted. */
  readonly targets: readonly string[]
  readonly tensors: Params
}

/** How paths of the model and of an adapter differ. */
export interface AdapterPaths {
  /** What checkpoints of the reference library have before paths, e.g. `transformer.`; none by default. */
  readonly prefix?: string
}

/** What reads and transposes: a suffix of theirs, and of ours. */
interface Layout {
  readonly file: string
  readonly open: (source: Source, path: string) => Promise<Checkpoint>
  readonly settings: (where: string, config: Json) => Pick<Adapter, 'rank' | 'alpha'>
  /** The target and the half of a tensor. */
  readonly name: RegExp
  readonly transposed: boolean
}

type Json = Readonly<Record<string, unknown>>

const peftName = /^base_model\.model\.(?<target>.+)\.lora_(?<half>[AB])(?:\.default)?\.weight$/

/** Files of adapters, in the order they are looked for. */
const layouts: readonly Layout[] = [
  {
    file: 'adapter_model.safetensors',
    open: openSafetensors,
    settings: peftSettings,
    name: peftName,
    transposed: false,
  },
  { file: 'adapter_model.bin', open: openTorch, settings: peftSettings, name: peftName, transposed: false },
  {
    file: 'adapters.safetensors',
    open: openSafetensors,
    settings: mlxSettings,
    name: /^(?<target>.+)\.lora_(?<half>[ab])$/,
    transposed: true,
  },
]

const configFile = 'adapter_config.json'

/**
 * The LoRA adapter of a folder: PEFT's (`adapter_model.safetensors` or `.bin`) or mlx-lm's (`adapters.safetensors`), with
 * `adapter_config.json`.
 * @throws Error naming the file and the setting or tensor that is wrong, or more than plain LoRA.
 */
export async function readAdapter(source: Source, { prefix = '' }: AdapterPaths = {}): Promise<Adapter> {
  const files = await source.list()
  const layout = layouts.find(({ file }) => files.includes(file))
  if (!layout) {
    throw new Error(`${source.name}: has no adapter, want one of ${layouts.map(({ file }) => file).join(', ')}`)
  }
  const { rank, alpha } = layout.settings(`${source.name}/${configFile}`, await readJsonObject(source, configFile))
  const where = `${source.name}/${layout.file}`
  const checkpoint = await layout.open(source, layout.file)
  const tensors: Record<string, FloatArray> = {}
  const targets = new Set<string>()
  for (const name of checkpoint.names) {
    const { target, half } = layout.name.exec(name)?.groups ?? {}
    if (!target || !half)
      throw new Error(`${where}: ${name} is no part of a plain LoRA adapter, want only lora_A, lora_B`)
    const path = target.startsWith(prefix) ? target.slice(prefix.length) : target
    const array = await checkpoint.tensor(name)
    if (array.shape.length !== 2) throw new RangeError(`${where}: ${name}: got shape [${array.shape}], want two axes`)
    tensors[`${path}.lora_${half.toUpperCase()}.weight`] = layout.transposed ? transposed(array) : array
    targets.add(path)
  }
  const adapter = { rank, alpha, targets: [...targets].sort(), tensors }
  checkAdapter(where, adapter)
  return adapter
}

/** Options of {@link writePeftAdapter}. */
export interface PeftOptions extends AdapterPaths {
  /** Whether the changed weights are stored as (i o), as GPT-2's are. Default false. */
  readonly fanInFanOut?: boolean
  /** The name or path of the model that is changed, for people and for PEFT's automatic loading. */
  readonly baseModel?: string
  /** What PEFT calls the model's task. Default `CAUSAL_LM`. */
  readonly task?: string
}

/** Writes an adapter so that PEFT loads it, and {@link readAdapter}. @throws RangeError naming a tensor that does not fit. */
export async function writePeftAdapter(
  sink: Sink,
  adapter: Adapter,
  { prefix = '', fanInFanOut = false, baseModel, task = 'CAUSAL_LM' }: PeftOptions = {},
): Promise<void> {
  checkAdapter(sink.name, adapter)
  const { rank, alpha, targets, tensors } = adapter
  const named = Object.entries(tensors).map(([path, array]) => [`base_model.model.${prefix}${path}`, array] as const)
  await writeSafetensors(sink, 'adapter_model.safetensors', Object.fromEntries(named), { metadata: { format: 'pt' } })
  const config = {
    peft_type: 'LORA',
    task_type: task,
    base_model_name_or_path: baseModel ?? null,
    inference_mode: true,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: fanInFanOut,
    target_modules: targets.map((target) => `${prefix}${target}`),
  }
  await sink.write(configFile, [new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`)])
}

/** Settings that make an adapter more than W + B A, with what they are when they do not. */
const plainPeft: Readonly<Record<string, readonly unknown[]>> = {
  bias: ['none'],
  use_dora: [false],
  lora_bias: [false],
  modules_to_save: [],
  rank_pattern: [],
  alpha_pattern: [],
  layer_replication: [],
  trainable_token_indices: [],
}

function peftSettings(where: string, config: Json): Pick<Adapter, 'rank' | 'alpha'> {
  if (config.peft_type !== 'LORA') throw new Error(`${where}: peft_type: got ${show(config.peft_type)}, want "LORA"`)
  for (const [key, values] of Object.entries(plainPeft)) {
    const value = config[key]
    const isEmpty =
      value === undefined || value === null || (typeof value === 'object' && Object.keys(value).length === 0)
    if (isEmpty || values.includes(value)) continue
    throw new Error(`${where}: ${key}: got ${show(value)}, want none: only plain LoRA is read`)
  }
  const rank = size(where, 'r', config.r)
  const alpha = positive(where, 'lora_alpha', config.lora_alpha)
  const initial = config.init_lora_weights
  if (typeof initial === 'string' && /^(pissa|olora|corda|loftq)/.test(initial)) {
    throw new Error(`${where}: init_lora_weights: got ${show(initial)}, which changes the weights of the model too`)
  }
  // Rank-stabilised LoRA divides by the root of the rank (arXiv 2312.03732).
  return { rank, alpha: config.use_rslora === true ? alpha * Math.sqrt(rank) : alpha }
}

function mlxSettings(where: string, config: Json): Pick<Adapter, 'rank' | 'alpha'> {
  const { fine_tune_type: type = 'lora', lora_parameters: given } = config
  if (type !== 'lora') throw new Error(`${where}: fine_tune_type: got ${show(type)}, want "lora"`)
  const { rank, scale } = Object(given) as Json
  const found = size(where, 'lora_parameters.rank', rank)
  return { rank: found, alpha: found * positive(where, 'lora_parameters.scale', scale) }
}

function checkAdapter(where: string, { rank, targets, tensors }: Adapter): void {
  if (targets.length === 0) throw new Error(`${where}: has no lora_A and lora_B`)
  for (const target of targets) {
    for (const [half, axis] of [
      ['A', 0],
      ['B', 1],
    ] as const) {
      const path = `${target}.lora_${half}.weight`
      const shape = Object.hasOwn(tensors, path) ? tensors[path]!.shape : undefined
      if (!shape) throw new Error(`${where}: ${target} has no lora_${half}`)
      if (shape.length !== 2 || shape[axis] !== rank) {
        const want = half === 'A' ? `[${rank}, inputs]` : `[outputs, ${rank}]`
        throw new RangeError(`${where}: ${path}: got shape [${shape}], want ${want} for rank ${rank}`)
      }
    }
  }
}

function size(where: string, key: string, value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number
  throw new Error(`${where}: ${key}: got ${show(value)}, want a whole number from 1`)
}

function positive(where: string, key: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value
  throw new Error(`${where}: ${key}: got ${show(value)}, want a number above 0`)
}
