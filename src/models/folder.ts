/** Models as Hugging Face style folders: config.json, model.safetensors, tokenizer.json. */

import type { FloatArray } from '../base/array.ts'
import { checkMemory, float32Bytes, openCheckpoint } from '../io/checkpoint.ts'
import type { Sink, Source } from '../io/files.ts'
import { readJsonObject } from '../io/json.ts'
import { checkFinite, type StoredDType, writeSafetensors } from '../io/safetensors.ts'
import { checkParams, familyOf, readConfig } from './families.ts'
import type { Json, Model, ModelConfig } from './model.ts'

/**
 * Reads a model; weights are read one by one, by range.
 * @throws Error naming the file for a missing or broken one, every tensor that does not fit config.json, and the first
 * weight that is not a finite number.
 * @param options.memory bytes that weights may take; a larger model is a RangeError before one is read. Default: any.
 */
export async function loadModel(source: Source, { memory = Infinity } = {}): Promise<Model> {
  const config = await loadConfig(source)
  const family = familyOf(config)
  const checkpoint = await openCheckpoint(source)
  const stored = new Map<string, string>()
  for (const name of checkpoint.names) {
    const path = name.startsWith(family.checkpointPrefix) ? name.slice(family.checkpointPrefix.length) : name
    if (!family.ignores(path)) stored.set(path, name)
  }
  const shapes = [...stored].map(([path, name]) => [path, { shape: checkpoint.shape(name) }] as const)
  checkParams(source.name, config, Object.fromEntries(shapes))
  checkMemory(source.name, float32Bytes(checkpoint, [...stored.values()]), memory)
  const params: Record<string, FloatArray> = {}
  for (const [path, name] of stored) {
    params[path] = await checkpoint.tensor(name)
    checkFinite(`${source.name}: ${name}`, params[path])
  }
  return { config, params }
}

/** The config of a folder, or of another file than config.json. @throws Error naming the file and the key at fault. */
export async function loadConfig(source: Source, path = 'config.json'): Promise<ModelConfig> {
  const json = await readJson(source, path)
  try {
    return readConfig(json)
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

/** Writes a model so that {@link loadModel} reads it again; config.json comes last, so a folder with it is whole. */
export async function saveModel(
  sink: Sink,
  model: Model,
  { dtype = 'float32', tokenizer }: SaveOptions = {},
): Promise<void> {
  await writeSafetensors(sink, 'model.safetensors', model.params, { dtype, metadata: { format: 'pt' } })
  if (tokenizer !== undefined) await writeJson(sink, 'tokenizer.json', tokenizer)
  await writeJson(sink, 'config.json', familyOf(model.config).writeConfig(model.config))
}

/** A JSON object in a file. @throws Error naming the file when it is missing or no JSON object. */
export const readJson: (source: Source, path: string) => Promise<Json> = readJsonObject

/** Writes a value as indented JSON. */
export async function writeJson(sink: Sink, path: string, value: unknown): Promise<void> {
  await sink.write(path, [new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)])
}
