/** Reads and writes safetensors files; tensors are read by range. */

import { type Data, floats, type NDArray, type Params, sizeOf } from '../base/array.ts'
import { floatEncodings, type ReadRange, readValues, readWords } from './encodings.ts'
import type { Sink, Source } from './files.ts'
import { fromFloat16, toBfloat16, toFloat16 } from './half.ts'
import { parseHeader, type StoredTensor } from './safetensorsHeader.ts'
import type { Checkpoint } from './tensors.ts'

/** What weights are stored as; in memory they are float32. */
export type StoredDType = 'float32' | 'float16' | 'bfloat16'

/** An open safetensors file. */
export interface SafetensorsFile extends Checkpoint {
  /** The file's own text by key. */
  readonly metadata: Readonly<Record<string, string>>
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
  const reads = (start: number): ReadRange => {
    const begin = 8 + length + start
    return (from, to, room) => source.read(path, begin + from, begin + to, room)
  }
  const entry = (name: string): StoredTensor => {
    const found = tensors.get(name)
    if (found) return found
    throw new Error(`${where}: has no tensor ${name}`)
  }
  return {
    names: [...tensors.keys()],
    metadata,
    shape: (name) => entry(name).shape,
    dtype: (name) => entry(name).dtype,
    async tensor(name, into) {
      const { dtype, shape, start } = entry(name)
      const encoding = Object.hasOwn(floatEncodings, dtype) ? floatEncodings[dtype] : undefined
      const known = Object.keys(floatEncodings).join(', ')
      if (!encoding) throw new Error(`${where}: ${name} is stored as ${dtype}, want one of ${known}`)
      const from = into ? { into, piece: largePiece } : {}
      return floats(shape, await readValues(reads(start), encoding, 0, sizeOf(shape), from))
    },
    async words(name, into) {
      const { dtype, shape, start } = entry(name)
      if (dtype !== 'F16') throw new Error(`${where}: ${name} is stored as ${dtype}, want F16 for words of it`)
      return { dtype: 'float16', shape, data: await readWords(reads(start), sizeOf(shape), into) }
    },
  }
}

/** Bytes read at a time into memory that is used again and again: whole weights of a large model. */
const largePiece = 2 ** 24

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
  const tensors = Object.entries(params).map(([name, array]) => {
    return { name, shape: array.shape, dtype, load: async () => array }
  })
  await writeTensors(sink, path, tensors, metadata)
}

/** A tensor that is there when it is written. */
export interface WrittenTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly dtype: StoredDType
  /** Its values, or its words where they are float16 already. */
  load(): Promise<NDArray>
}

/** {@link writeSafetensors} of tensors that are loaded one after the other. */
export async function writeTensors(
  sink: Sink,
  path: string,
  tensors: readonly WrittenTensor[],
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const sorted = tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {}
  let offset = 0
  for (const { name, shape, dtype } of sorted) {
    if (name === '__metadata__' || name === '__proto__')
      throw new Error(`writeSafetensors: ${name} cannot name a tensor`)
    const end = offset + sizeOf(shape) * (dtype === 'float32' ? 4 : 2)
    header[name] = { dtype: codes[dtype], shape, data_offsets: [offset, end] }
    offset = end
  }
  await sink.write(path, fileParts(`${sink.name}/${path}`, header, sorted))
}

async function* fileParts(where: string, header: object, tensors: readonly WrittenTensor[]) {
  const json = new TextEncoder().encode(JSON.stringify(header))
  const start = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20)
  new DataView(start.buffer).setBigUint64(0, BigInt(start.length - 8), true)
  start.set(json, 8)
  yield start
  for (const { name, dtype, load } of tensors) {
    const { data } = await load()
    for (let at = 0; at < data.length; at += chunk) {
      const stored = encoded(`${where}: ${name}`, data.subarray(at, at + chunk), dtype)
      yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength)
    }
  }
}

function encoded(where: string, values: Data, dtype: StoredDType): Data {
  if (values instanceof Uint16Array && dtype === 'float16') return values
  if (!(values instanceof Float32Array))
    throw new TypeError(`${where}: got values that are not float32, to store as ${dtype}`)
  const stored = encoders[dtype](values)
  if (stored instanceof Uint16Array) checkFits(where, values, stored, dtype)
  return stored
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
export function checkFinite(path: string, array: NDArray): void {
  const { data } = array.dtype === 'float16' ? valuesOf(array) : array
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i]!)) throw new Error(`${path}: value ${i} is ${data[i]}, want finite numbers`)
  }
}

/** The values of float16 words, or none where all are seen to be finite by their exponents. */
function valuesOf({ data }: NDArray): { readonly data: Float32Array } {
  for (let i = 0; i < data.length; i++)
    if ((data[i]! & 0x7c00) === 0x7c00) return { data: fromFloat16(data as Uint16Array) }
  return { data: new Float32Array(0) }
}

const codes: Readonly<Record<StoredDType, string>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' }

const encoders: Readonly<Record<StoredDType, (values: Float32Array) => Float32Array | Uint16Array>> = {
  float32: (values) => values,
  float16: toFloat16,
  bfloat16: toBfloat16,
}
