/** A model in its files: parameters that are read one by one, for models that are larger than memory. */

import { type FloatArray, type NDArray, type Params, sizeOf } from '../base/array.ts'
import { openCheckpoint } from '../io/checkpoint.ts'
import type { Sink, Source } from '../io/files.ts'
import { checkFinite, type StoredDType, type WrittenTensor, writeTensors } from '../io/safetensors.ts'
import { checkParams, familyOf } from './families.ts'
import { loadConfig, savedName, storedNames, writeJson } from './folder.ts'
import type { Model, ModelConfig } from './model.ts'

/** A model folder that was opened, and of which no weight is in memory. */
export interface ModelFiles {
  readonly config: ModelConfig
  /** Of all parameters. */
  readonly paths: readonly string[]
  shape(path: string): readonly number[]
  /** What it is stored as, e.g. `F16`. */
  dtype(path: string): string
  /**
   * Reads a parameter.
   * @param into memory that may be used for it
   * @throws Error naming a value that is not finite, the first time it is read
   */
  read(path: string, into?: Float32Array<ArrayBuffer>): Promise<FloatArray>
}

/** A model folder that can be read as it is stored. */
export interface StoredFiles extends ModelFiles {
  /** Whether {@link StoredFiles.stored} gives a parameter as float16 words. */
  hasWords(path: string): boolean
  /** {@link ModelFiles.read}, or the words where there are. @param into memory that may be used for it */
  stored(path: string, into?: ArrayBuffer): Promise<NDArray>
}

/** Opens a model folder. @throws Error as `loadModel` does, but for values. */
export async function openModelFiles(source: Source): Promise<StoredFiles> {
  const config = await loadConfig(source)
  const checkpoint = await openCheckpoint(source)
  const names = storedNames(source.name, checkpoint, config)
  const shapes = Object.fromEntries([...names].map(([path, name]) => [path, { shape: checkpoint.shape(name) }]))
  checkParams(source.name, config, shapes)
  const checked = new Set<string>()
  const check = (path: string, array: NDArray) => {
    if (!checked.has(path)) checkFinite(`${source.name}: ${names.get(path)}`, array)
    checked.add(path)
  }
  const files: StoredFiles = {
    config,
    paths: [...names.keys()],
    shape: (path) => checkpoint.shape(names.get(path)!),
    dtype: (path) => checkpoint.dtype(names.get(path)!),
    async read(path, into) {
      const array = await checkpoint.tensor(names.get(path)!, into)
      check(path, array)
      return array
    },
    hasWords: (path) => checkpoint.words !== undefined && files.dtype(path) === 'F16',
    async stored(path, into) {
      // What was of another layer may have been stored in fewer bytes.
      const fits = into && into.byteLength >= (files.hasWords(path) ? 2 : 4) * sizeOf(files.shape(path))
      const room = fits ? into : undefined
      if (!files.hasWords(path)) return files.read(path, room && new Float32Array(room))
      const array = await checkpoint.words!(names.get(path)!, room && new Uint16Array(room))
      check(path, array)
      return array
    },
  }
  return files
}

/** The shapes of all parameters, for `checkParams`. */
export function shapesOf({ paths, shape }: ModelFiles): Record<string, { readonly shape: readonly number[] }> {
  return Object.fromEntries(paths.map((path) => [path, { shape: shape(path) }]))
}

/** A model in memory, to be read as one in files is. */
export function filesOf({ config, params }: Model): ModelFiles {
  return {
    config,
    paths: Object.keys(params),
    shape: (path) => params[path]!.shape,
    dtype: () => 'F32',
    read: async (path) => params[path]!,
  }
}

/** A model with parameters in memory beside those of its files, or in place of them. */
export function withParams(files: ModelFiles, { config, params }: Model): ModelFiles {
  const held = filesOf({ config, params })
  const of = (path: string) => (Object.hasOwn(params, path) ? held : files)
  return {
    config,
    paths: [...new Set([...files.paths, ...held.paths])],
    shape: (path) => of(path).shape(path),
    dtype: (path) => of(path).dtype(path),
    read: (path, into) => of(path).read(path, into),
  }
}

/** The layer that a parameter belongs to; undefined outside of blocks. */
export function layerOf({ family, layers }: ModelConfig, path: string): number | undefined {
  const { blockPrefix } = familyOf({ family })
  for (let layer = 0; layer < layers; layer++) if (path.startsWith(blockPrefix(layer))) return layer
  return undefined
}

/** The paths of a block, or, without a layer, of what is outside of blocks. */
export function pathsOf({ config, paths }: Pick<ModelFiles, 'config' | 'paths'>, layer?: number): string[] {
  if (layer !== undefined) return paths.filter((path) => path.startsWith(familyOf(config).blockPrefix(layer)))
  return paths.filter((path) => layerOf(config, path) === undefined)
}

/** The parameters outside of blocks. */
export function readOuter(files: ModelFiles): Promise<Params> {
  return readParams(files, pathsOf(files))
}

/** Some parameters; all of them by default. */
export async function readParams(files: ModelFiles, paths: readonly string[] = files.paths): Promise<Params> {
  const found: Record<string, FloatArray> = {}
  for (const path of paths) found[path] = await files.read(path)
  return found
}

/** Bytes of some parameters as float32. */
export function bytesOf(files: Pick<ModelFiles, 'shape'>, paths: readonly string[]): number {
  return paths.reduce((sum, path) => sum + 4 * sizeOf(files.shape(path)), 0)
}

/** Bytes of some parameters as {@link StoredFiles.stored} has them. */
export function storedBytesOf(files: Pick<StoredFiles, 'shape' | 'hasWords'>, paths: readonly string[]): number {
  return paths.reduce((sum, path) => sum + (files.hasWords(path) ? 2 : 4) * sizeOf(files.shape(path)), 0)
}

/** Options of {@link saveFrom}. */
export interface SaveFromOptions {
  readonly tokenizer?: unknown
}

function isStored(files: ModelFiles): files is StoredFiles {
  return 'stored' in files
}

const storedDTypes: Readonly<Record<string, StoredDType>> = { F16: 'float16', BF16: 'bfloat16' }

/**
 * Writes a model of stored parameters and others beside them as a folder, one parameter in memory at a time; stored ones
 * keep their dtype where it is of 16 bits, float16 word by word, those beside them are float32.
 */
export async function saveFrom(
  sink: Sink,
  files: ModelFiles,
  beside: Model,
  { tokenizer }: SaveFromOptions = {},
): Promise<void> {
  const { config, paths, shape, dtype, read } = withParams(files, beside)
  const family = familyOf(config)
  const tensors = paths.map((path): WrittenTensor => {
    const stored = storedDTypes[dtype(path)] ?? 'float32'
    const asWords =
      stored === 'float16' && isStored(files) && files.hasWords(path) && !Object.hasOwn(beside.params, path)
    const load = () => (asWords ? files.stored(path) : read(path))
    return { name: savedName(family, path), shape: shape(path), dtype: stored, load }
  })
  await writeTensors(sink, 'model.safetensors', tensors, { format: 'pt' })
  if (tokenizer !== undefined) await writeJson(sink, 'tokenizer.json', tokenizer)
  await writeJson(sink, 'config.json', family.writeConfig(config))
}
