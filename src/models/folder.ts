/** Models as Hugging Face style folders: config.json, model.safetensors, tokenizer.json. */

import { type FloatArray, sizeOf } from '../base/array.ts'
import { type Random, random } from '../base/random.ts'
import { checkMemory, float32Bytes, openCheckpoint } from '../io/checkpoint.ts'
import type { Sink, Source } from '../io/files.ts'
import { readJsonObject } from '../io/json.ts'
import { checkFinite, type StoredDType, writeSafetensors } from '../io/safetensors.ts'
import type { Checkpoint } from '../io/tensors.ts'
import { initialise, type ParamSpecs } from '../nn/params.ts'
import { checkParams, familyOf, jsonFor, paramSpecs, readConfig, type TaskChoice } from './families.ts'
import type { Family, Json, Model, ModelConfig } from './model.ts'

/** Options of {@link loadModel}. */
export interface LoadOptions extends Partial<TaskChoice> {
  /** For the initial values of an end that the checkpoint lacks. Default: seed 0. */
  readonly rng?: Random
  /** Bytes that weights may take; a larger model is a RangeError before one is read. Default: any. */
  readonly memory?: number
}

/**
 * Reads a model; weights are read one by one, by range.
 * @param options.task what to read it for: an end that the checkpoint lacks, or has for other classes, begins anew.
 * @throws Error naming the file for a missing or broken one, every tensor that does not fit config.json, and the first
 * weight that is not a finite number.
 */
export async function loadModel(source: Source, options: LoadOptions = {}): Promise<Model> {
  const { task, labels, rng = random(0), memory = Infinity } = options
  const choice = task && { task, ...(labels !== undefined && { labels }) }
  const config = await loadConfig(source, 'config.json', choice)
  const family = familyOf(config)
  const checkpoint = await openCheckpoint(source)
  const specs = paramSpecs(config)
  const stored = storedNames(source.name, checkpoint, config)
  const shapes = Object.fromEntries([...stored].map(([path, name]) => [path, { shape: checkpoint.shape(name) }]))
  const begun = choice ? newEnd(family, specs, shapes) : {}
  checkParams(source.name, config, { ...shapes, ...begun })
  const newBytes = Object.values(begun).reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0)
  checkMemory(source.name, float32Bytes(checkpoint, [...stored.values()]) + newBytes, memory)
  const params: Record<string, FloatArray> = initialise(begun, rng)
  for (const [path, name] of stored) {
    if (path in begun) continue
    params[path] = await checkpoint.tensor(name)
    checkFinite(`${source.name}: ${name}`, params[path])
  }
  return { config, params }
}

/** The names that a checkpoint has for the parameters of a config, by path. @throws Error for two names of one path. */
export function storedNames(where: string, checkpoint: Checkpoint, config: ModelConfig): Map<string, string> {
  const family = familyOf(config)
  const specs = paramSpecs(config)
  const stored = new Map<string, string>()
  for (const name of checkpoint.names) {
    const inner = name.startsWith(family.checkpointPrefix) ? name.slice(family.checkpointPrefix.length) : name
    const path = family.renamed?.(inner) ?? inner
    if (!(path in specs) && family.ignores(path)) continue
    if (stored.has(path)) throw new Error(`${where}: ${stored.get(path)} and ${name} are both named ${path}`)
    stored.set(path, name)
  }
  return stored
}

/** The parameters of a task's end that a checkpoint lacks, or has in another shape. */
function newEnd(family: Family, specs: ParamSpecs, shapes: Readonly<Record<string, { shape: readonly number[] }>>) {
  const missing = Object.entries(specs).filter(
    ([path, { shape }]) => startsWithAny(path, family.ends) && `${shapes[path]?.shape}` !== `${shape}`,
  )
  return Object.fromEntries(missing)
}

function startsWithAny(path: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => path.startsWith(prefix))
}

/** The config of a folder, or of another file than config.json. @throws Error naming the file and the key at fault. */
export async function loadConfig(source: Source, path = 'config.json', choice?: TaskChoice): Promise<ModelConfig> {
  const json = await readJson(source, path)
  try {
    return readConfig(choice ? jsonFor(json, choice) : json)
  } catch (error) {
    const message = (error as Error).message.replace(/^config\.json: /, '')
    throw new Error(`${source.name}: ${path}: ${message}`, { cause: error })
  }
}

/** Options of {@link saveModel}. */
export interface SaveOptions {
  /** What weights are stored as. Default float32. */
  readonly dtype?: StoredDType
  /** The tokenizer.json to go with it. */
  readonly tokenizer?: unknown
}

/**
 * Writes a model so that {@link loadModel} reads it again, its tensors named as the reference library names them;
 * config.json comes last, so a folder with it is whole.
 */
export async function saveModel(
  sink: Sink,
  model: Model,
  { dtype = 'float32', tokenizer }: SaveOptions = {},
): Promise<void> {
  const family = familyOf(model.config)
  const named = Object.entries(model.params).map(([path, array]) => [savedName(family, path), array] as const)
  await writeSafetensors(sink, 'model.safetensors', Object.fromEntries(named), { dtype, metadata: { format: 'pt' } })
  if (tokenizer !== undefined) await writeJson(sink, 'tokenizer.json', tokenizer)
  await writeJson(sink, 'config.json', family.writeConfig(model.config))
}

/** What a parameter is called in a file. */
export function savedName(family: Family, path: string): string {
  return startsWithAny(path, family.unprefixed) ? path : family.checkpointPrefix + path
}

/** A JSON object in a file. @throws Error naming the file when it is missing or no JSON object. */
export const readJson: (source: Source, path: string) => Promise<Json> = readJsonObject

/** Writes a value as indented JSON. */
export async function writeJson(sink: Sink, path: string, value: unknown): Promise<void> {
  await sink.write(path, [new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)])
}
