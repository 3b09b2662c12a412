/** Checkpoints: named tensors that are read on demand, whatever format and however many files hold them. */

import { sizeOf } from '../base/array.ts'
import { digestOf } from '../base/digest.ts'
import { formatBytes } from '../base/format.ts'
import type { Source } from './files.ts'
import { oneGguf } from './ggufFolder.ts'
import { isObject, parseJson, readWhole } from './json.ts'
import { openSafetensors } from './safetensors.ts'
import type { Checkpoint } from './tensors.ts'

/** A format whose checkpoints are one file, or several with an index of them. */
interface Format {
  readonly file: string
  /** What the names of the files in an index end in. */
  readonly ending: string
  open(source: Source, path: string): Promise<Checkpoint>
}

/** Safetensors is what most have: readers of other formats are loaded when they are needed. */
const openTorch: Format['open'] = async (source, path) => (await import('./torchFile.ts')).openTorch(source, path)
const openGgufModel: Format['open'] = async (source, path) =>
  (await import('./ggufModel.ts')).openGgufModel(source, path)

/** Formats in the order they are looked for. */
const formats: readonly Format[] = [
  { file: 'model.safetensors', ending: '.safetensors', open: openSafetensors },
  { file: 'pytorch_model.bin', ending: '.bin', open: openTorch },
]

/**
 * The tensors of a checkpoint folder: of `model.safetensors`, else `pytorch_model.bin`, or the files that
 * their `….index.json` names, else of the one GGUF file.
 * @throws Error naming the file that is missing or wrong.
 */
export async function openCheckpoint(source: Source): Promise<Checkpoint> {
  const { path, open, shards } = await findWeights(source)
  return shards ? openShards(source, path, shards, open) : open(source, path)
}

/** The files that {@link openCheckpoint} reads, an index first; only an index is read. @throws Error as it does. */
export async function weightFiles(source: Source): Promise<readonly string[]> {
  const { path, shards } = await findWeights(source)
  return [path, ...new Set(shards?.values())]
}

/** Pieces of a weight file that enter its digest, and the bytes of each: training changes values everywhere. */
const sampled = { pieces: 64, bytes: 4096 }

/**
 * A digest of a checkpoint that is quick whatever its size: of the sizes of its files, their beginnings, where formats
 * say what is in them, and evenly spread pieces. @throws Error as {@link openCheckpoint} does.
 */
export async function checkpointDigest(source: Source): Promise<string> {
  const parts: string[] = []
  for (const file of await weightFiles(source)) {
    const size = await source.size(file)
    parts.push(file, String(size))
    for (let piece = 0; piece <= sampled.pieces; piece++) {
      const start = Math.floor((size * piece) / (sampled.pieces + 1))
      parts.push(digestOf([await source.read(file, start, Math.min(size, start + sampled.bytes))]))
    }
  }
  return digestOf(parts)
}

/** Where weights are: in one file, or in the shards of an index, by tensor. */
interface Weights {
  readonly path: string
  readonly open: Format['open']
  readonly shards?: ReadonlyMap<string, string>
}

async function findWeights(source: Source): Promise<Weights> {
  const files = await source.list()
  for (const { file, ending, open } of formats) {
    if (files.includes(file)) return { path: file, open }
    const path = `${file}.index.json`
    if (!files.includes(path)) continue
    return { path, open, shards: readWeightMap(`${source.name}/${path}`, ending, await readWhole(source, path)) }
  }
  const gguf = oneGguf(source.name, files)
  if (gguf !== undefined) return { path: gguf, open: openGgufModel }
  const wanted = formats.map(({ file }) => file).join(', ')
  const other = files.find((file) => /\.(bin|ckpt|h5|msgpack|npz|onnx|pt|pth|safetensors)$/.test(file))
  const hint = other ? `; ${other} alone is not read as the weights of a folder` : ''
  throw new Error(
    `${source.name}: has no weights, want one of ${wanted}, an index of its parts, or one GGUF file${hint}`,
  )
}

/** The memory that tensors of a checkpoint take as float32, in bytes; all of them by default. */
export function float32Bytes(checkpoint: Checkpoint, names: readonly string[] = checkpoint.names): number {
  return names.reduce((sum, name) => sum + 4 * sizeOf(checkpoint.shape(name)), 0)
}

/**
 * Whether weights fit into memory.
 * @param needed bytes that they take
 * @param free bytes that there are
 * @throws RangeError with both numbers when they do not.
 */
export function checkMemory(where: string, needed: number, free: number): void {
  if (needed <= free) return
  throw new RangeError(
    `${where}: its weights take ${formatBytes(needed)} as float32, ${formatBytes(free)} of memory are free; ` +
      'use a smaller model, or a machine with more memory',
  )
}

async function openShards(
  source: Source,
  index: string,
  files: ReadonlyMap<string, string>,
  open: Format['open'],
): Promise<Checkpoint> {
  const where = `${source.name}/${index}`
  const shards = new Map<string, Checkpoint>()
  for (const file of new Set(files.values())) shards.set(file, await open(source, file))
  const shardOf = (name: string): Checkpoint => {
    const shard = shards.get(files.get(name) ?? '')
    if (shard) return shard
    throw new Error(`${where}: names no tensor ${name}`)
  }
  for (const name of files.keys()) shardOf(name).shape(name)
  return {
    names: [...files.keys()],
    shape: (name) => shardOf(name).shape(name),
    dtype: (name) => shardOf(name).dtype(name),
    tensor: async (name, into) => shardOf(name).tensor(name, into),
    ...([...shards.values()].every(({ words }) => words) && {
      words: async (name: string, into?: Uint16Array<ArrayBuffer>) => shardOf(name).words!(name, into),
    }),
  }
}

function readWeightMap(where: string, ending: string, bytes: Uint8Array): Map<string, string> {
  const wrong = `${where}: want JSON with "weight_map", the ${ending} file of each tensor`
  const json = parseJson(where, bytes, { unique: true })
  const map = isObject(json) ? json.weight_map : undefined
  if (!isObject(map)) throw new Error(wrong)
  const entries = Object.entries(map)
  const isFile = (file: unknown): file is string => typeof file === 'string' && file.endsWith(ending)
  if (!entries.every((entry): entry is [string, string] => isFile(entry[1]))) throw new Error(wrong)
  return new Map(entries)
}
