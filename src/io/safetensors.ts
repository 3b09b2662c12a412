/** Reads and writes safetensors files, and checkpoints of one file or many; tensors are read by range. */

import { type FloatArray, floats, type Params, sizeOf } from '../base/array.ts'
import type { Sink, Source } from './files.ts'
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from './half.ts'
import { parseHeader, type StoredTensor } from './safetensorsHeader.ts'

/** What weights are stored as; in memory they are float32. */
export type StoredDType = 'float32' | 'float16' | 'bfloat16'

/** An open safetensors file: what is in it, and its tensors on demand. */
export interface SafetensorsFile {
  /** Tensor names in the order of the file. */
  readonly names: readonly string[]
  /** The file's own text by key. */
  readonly metadata: Readonly<Record<string, string>>
  /** The shape of a tensor. @throws Error when the file has no such tensor. */
  shape(name: string): readonly number[]
  /** A tensor as float32. @throws Error when the file has no such tensor or it is not F32, F16 or BF16. */
  tensor(name: string): Promise<FloatArray>
}

/** The largest header that is read, in bytes; the format's own limit. */
const headerLimit = 100_000_000

/**
 * Opens a file: reads and checks its header, no tensor.
 * @throws Error naming the file and what is wrong with it.
 */
export async function openSafetensors(source: Source, path: string): Promise<SafetensorsFile> {
  const where = `${source.name}/${path}`
  const size = await source.size(path)
  if (size < 8) throw new Error(`${where}: got ${size} bytes, want at least 8; the file is cut off`)
  const first = await source.read(path, 0, 8)
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true))
  if (length > headerLimit || length > size - 8) {
    const most = Math.min(headerLimit, size - 8)
    throw new Error(`${where}: header of ${length} bytes, want at most ${most}; the file is cut off or no safetensors`)
  }
  const { tensors, metadata } = parseHeader(where, await source.read(path, 8, 8 + length), size - 8 - length)
  const entry = (name: string): StoredTensor => {
    const found = tensors.get(name)
    if (found) return found
    throw new Error(`${where}: has no tensor ${name}`)
  }
  return {
    names: [...tensors.keys()],
    metadata,
    shape: (name) => entry(name).shape,
    async tensor(name) {
      const { dtype, shape, start, end } = entry(name)
      const decode = decoders[dtype]
      if (!decode) throw new Error(`${where}: ${name} is stored as ${dtype}, want F32, F16 or BF16`)
      return floats(shape, decode(aligned(await source.read(path, 8 + length + start, 8 + length + end))))
    },
  }
}

/** The tensors of a checkpoint folder. */
export type Checkpoint = Pick<SafetensorsFile, 'names' | 'shape' | 'tensor'>

/**
 * The tensors of a checkpoint folder: `model.safetensors`, or the files that `model.safetensors.index.json` names.
 * @throws Error naming the file that is missing or wrong.
 */
export async function openCheckpoint(source: Source): Promise<Checkpoint> {
  const files = await source.list()
  if (files.includes('model.safetensors')) return openSafetensors(source, 'model.safetensors')
  const index = 'model.safetensors.index.json'
  if (!files.includes(index)) {
    const other = files.find((file) => /\.(bin|pt|pth|gguf|h5)$/.test(file))
    const hint = other ? `; convert ${other} to safetensors first` : ''
    throw new Error(`${source.name}: has neither model.safetensors nor ${index}${hint}`)
  }
  return openShards(source, `${source.name}/${index}`, readWeightMap(source.name, index, await source.read(index)))
}

async function openShards(source: Source, where: string, files: ReadonlyMap<string, string>): Promise<Checkpoint> {
  const shards = new Map<string, SafetensorsFile>()
  for (const file of new Set(files.values())) shards.set(file, await openSafetensors(source, file))
  const shardOf = (name: string): SafetensorsFile => {
    const shard = shards.get(files.get(name) ?? '')
    if (shard) return shard
    throw new Error(`${where}: names no tensor ${name}`)
  }
  for (const name of files.keys()) shardOf(name).shape(name)
  return {
    names: [...files.keys()],
    shape: (name) => shardOf(name).shape(name),
    tensor: async (name) => shardOf(name).tensor(name),
  }
}

function readWeightMap(folder: string, index: string, bytes: Uint8Array): Map<string, string> {
  const wrong = `${folder}/${index}: want JSON with "weight_map", the file of each tensor`
  let map: unknown
  try {
    map = JSON.parse(new TextDecoder().decode(bytes))?.weight_map
  } catch {
    throw new Error(wrong)
  }
  if (typeof map !== 'object' || map === null || Array.isArray(map)) throw new Error(wrong)
  const entries = Object.entries(map)
  if (!entries.every(([, file]) => typeof file === 'string' && file.endsWith('.safetensors'))) throw new Error(wrong)
  return new Map(entries)
}

/** Options of {@link writeSafetensors}. */
export interface WriteOptions {
  /** What values are stored as. Default float32. */
  readonly dtype?: StoredDType
  /** Text to keep in the file. */
  readonly metadata?: Readonly<Record<string, string>>
}

/**
 * Writes parameters, sorted by name, as one safetensors file.
 * @throws RangeError naming the tensor when a finite value is too large for the dtype; the old file stays.
 */
export async function writeSafetensors(
  sink: Sink,
  path: string,
  params: Params,
  { dtype = 'float32', metadata }: WriteOptions = {},
): Promise<void> {
  const names = Object.keys(params).sort()
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {}
  let offset = 0
  for (const name of names) {
    if (name === '__metadata__' || name === '__proto__')
      throw new Error(`writeSafetensors: ${name} cannot name a tensor`)
    const { shape } = params[name]!
    const end = offset + sizeOf(shape) * (dtype === 'float32' ? 4 : 2)
    header[name] = { dtype: codes[dtype], shape, data_offsets: [offset, end] }
    offset = end
  }
  await sink.write(path, fileParts(`${sink.name}/${path}`, header, names, params, dtype))
}

function* fileParts(where: string, header: object, names: readonly string[], params: Params, dtype: StoredDType) {
  const json = new TextEncoder().encode(JSON.stringify(header))
  const start = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20)
  new DataView(start.buffer).setBigUint64(0, BigInt(start.length - 8), true)
  start.set(json, 8)
  yield start
  for (const name of names) {
    const { data } = params[name]!
    for (let at = 0; at < data.length; at += chunk) {
      const values = data.subarray(at, at + chunk)
      const stored = encoders[dtype](values)
      if (stored instanceof Uint16Array) checkFits(`${where}: ${name}`, values, stored, dtype)
      yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength)
    }
  }
}

/** Values that are converted and written at a time. */
const chunk = 2 ** 20

function checkFits(where: string, values: Float32Array, words: Uint16Array, dtype: StoredDType): void {
  const infinity = dtype === 'float16' ? 0x7c00 : 0x7f80
  for (let i = 0; i < words.length; i++) {
    if ((words[i]! & 0x7fff) === infinity && Number.isFinite(values[i]!)) {
      throw new RangeError(`${where}: got the value ${values[i]}, too large for ${dtype}; store as float32`)
    }
  }
}

/** Throws an Error that names the first value of an array that is not a finite number. */
export function checkFinite(path: string, { data }: FloatArray): void {
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i]!)) throw new Error(`${path}: value ${i} is ${data[i]}, want finite numbers`)
  }
}

const codes: Readonly<Record<StoredDType, string>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' }

const encoders: Readonly<Record<StoredDType, (values: Float32Array) => Float32Array | Uint16Array>> = {
  float32: (values) => values,
  float16: toFloat16,
  bfloat16: toBfloat16,
}

const decoders: Readonly<Record<string, (buffer: ArrayBuffer) => Float32Array>> = {
  F32: (buffer) => new Float32Array(buffer),
  F16: (buffer) => fromFloat16(new Uint16Array(buffer)),
  BF16: (buffer) => fromBfloat16(new Uint16Array(buffer)),
}

/** The bytes as a buffer of their own, which typed arrays can look into from its start. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  const whole = bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength
  return whole ? (bytes.buffer as ArrayBuffer) : new Uint8Array(bytes).buffer
}
