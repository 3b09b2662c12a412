/** Reads GGUF files, versions 2 and 3: metadata and tensors by the names that llama.cpp has for them. */

import { floats, sizeOf } from '../base/array.ts'
import { type Cursor, CutOff, cursor } from './cursor.ts'
import { type Encoding, encodedBytes, type ReadRange, readValues } from './encodings.ts'
import type { Source } from './files.ts'
import { ggufEncodings } from './ggufBlocks.ts'
import { checkName } from './names.ts'
import type { Checkpoint } from './tensors.ts'

/** A value of the metadata; 64-bit integers past exact numbers are infinite. */
export type GgufValue = number | boolean | string | readonly string[] | GgufNumbers

/** A list of numbers or, as zeros and ones, of booleans. */
export type GgufNumbers = ArrayLike<number> & Iterable<number>

/** An open GGUF file. */
export interface GgufFile extends Checkpoint {
  readonly metadata: ReadonlyMap<string, GgufValue>
}

/** The largest header that is read, in bytes; one of 260 thousand tokens takes 6 million. */
const headerLimit = 2 ** 25

/** Bytes that are read of a header at first. */
const firstPiece = 2 ** 20

/**
 * Opens a file: reads and checks its header, no tensor. Shapes are row-major, the reverse of what the file says.
 * @throws Error naming the file and what is wrong: no GGUF, cut off, sizes that cannot be, tensors that overlap or have
 * the same name, a type of values that is not read. Source: `docs/gguf.md` of ggml.
 * @param options.texts whether lists of text, the vocabulary above all, are kept; else they are empty. Default true
 */
export async function openGguf(source: Source, path: string, { texts = true } = {}): Promise<GgufFile> {
  const where = `${source.name}/${path}`
  const size = await source.size(path)
  const { metadata, tensors } = await readHeader(source, path, where, {
    size,
    most: Math.min(size, headerLimit),
    texts,
  })
  const entry = (name: string): GgufTensor => {
    const found = tensors.get(name)
    if (found) return found
    throw new Error(`${where}: has no tensor ${name}`)
  }
  return {
    names: [...tensors.keys()],
    metadata,
    shape: (name) => entry(name).shape,
    dtype: (name) => entry(name).dtype,
    async tensor(name) {
      const { shape, encoding, start } = entry(name)
      const read: ReadRange = (from, to, into) => source.read(path, start + from, start + to, into)
      return floats(shape, await readValues(read, encoding, 0, sizeOf(shape)))
    },
  }
}

interface GgufTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly dtype: string
  readonly encoding: Encoding
  readonly start: number
}

interface Header {
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly tensors: ReadonlyMap<string, GgufTensor>
}

interface Limits {
  /** Bytes of the file. */
  readonly size: number
  /** The most bytes that the header can have. */
  readonly most: number
  readonly texts: boolean
}

/** Nobody knows how long a header is before its end, so a longer piece is read when one was too short. */
async function readHeader(source: Source, path: string, where: string, limits: Limits): Promise<Header> {
  const { size, most } = limits
  for (let length = Math.min(firstPiece, most); ; length = Math.min(4 * length, most)) {
    const input = cursor(where, await source.read(path, 0, length))
    try {
      return parseHeader(where, input, limits)
    } catch (error) {
      if (!(error instanceof CutOff) || length === size) throw error
      if (length === most) throw new Error(`${where}: the header is longer than ${headerLimit} bytes`, { cause: error })
    }
  }
}

const magic = 0x46554747

/** The most tensors, and the most keys of metadata; the largest models have some thousands. */
const mostEntries = 2 ** 17

function parseHeader(where: string, input: Cursor, limits: Limits): Header {
  const { size, most } = limits
  if (size < 4 || input.uint32() !== magic) throw new Error(`${where}: is no GGUF file`)
  const version = input.uint32()
  if (version !== 2 && version !== 3) {
    const hint = version % 2 ** 16 === 0 ? '; it is big-endian' : ''
    throw new Error(`${where}: got GGUF version ${version}, want 2 or 3${hint}`)
  }
  const tensorCount = checkCount(where, 'tensors', input.uint64(), 24, Math.min(most, 24 * mostEntries))
  const pairCount = checkCount(where, 'keys', input.uint64(), 13, Math.min(most, 13 * mostEntries))
  const metadata = new Map<string, GgufValue>()
  for (let i = 0; i < pairCount; i++) {
    const key = checkName(where, input.text(input.uint64()))
    if (metadata.has(key)) throw new Error(`${where}: has the key ${key} twice`)
    metadata.set(key, readValue(`${where}: ${key}`, input, input.uint32(), limits))
  }
  const tensors = Array.from({ length: tensorCount }, () => readTensor(where, input))
  const alignment = metadata.get('general.alignment') ?? 32
  if (typeof alignment !== 'number' || !(alignment >= 1 && alignment <= 2 ** 16) || !Number.isInteger(alignment)) {
    throw new Error(`${where}: got alignment ${String(alignment).slice(0, 40)}, want a whole number up to 65536`)
  }
  const start = Math.ceil(input.at / alignment) * alignment
  return { metadata, tensors: placed(where, tensors, start, size) }
}

/** Refuses a count of things that take at least `bytes` each before it reads or makes one. */
function checkCount(where: string, what: string, count: number, bytes: number, most: number): number {
  if (count * bytes <= most) return count
  throw new Error(
    `${where}: got ${count} ${what}, more than ${most} bytes of a header can hold; it is cut off or damaged`,
  )
}

type NumberList = new (buffer: ArrayBuffer) => GgufNumbers

/** Types of metadata by their number: bytes of a value, how one is read, and the array for many. */
const valueTypes: Readonly<Record<number, readonly [number, (input: Cursor) => number | boolean, NumberList]>> = {
  0: [1, (input) => input.uint8(), Uint8Array],
  1: [1, (input) => input.int8(), Int8Array],
  2: [2, (input) => input.uint16(), Uint16Array],
  3: [2, (input) => input.int16(), Int16Array],
  4: [4, (input) => input.uint32(), Uint32Array],
  5: [4, (input) => input.int32(), Int32Array],
  6: [4, (input) => input.float32(), Float32Array],
  7: [1, (input) => input.uint8() !== 0, Uint8Array],
  12: [8, (input) => input.float64(), Float64Array],
}
const [stringType, arrayType, uint64Type, int64Type] = [8, 9, 10, 11] as const

function readValue(where: string, input: Cursor, type: number, limits: Limits): GgufValue {
  if (type === stringType) return input.text(input.uint64())
  if (type === arrayType) return readList(where, input, limits)
  if (type === uint64Type) return input.uint64()
  if (type === int64Type) return input.int64()
  const known = valueTypes[type]
  if (known) return known[1](input)
  throw new Error(`${where}: got a value of type ${type}, want one of 0 to 12`)
}

function readList(where: string, input: Cursor, { most, texts }: Limits): readonly string[] | GgufNumbers {
  const type = input.uint32()
  const known = valueTypes[type]
  const isLong = type === stringType || type === uint64Type || type === int64Type
  if (!known && !isLong) throw new Error(`${where}: got a list of type ${type}, want one of numbers or of text`)
  const count = checkCount(where, 'list items', input.uint64(), known?.[0] ?? 8, most)
  if (known) return new known[2](Uint8Array.from(input.bytes(count * known[0])).buffer)
  if (type === stringType) {
    const list: string[] = []
    for (let i = 0; i < count; i++) {
      if (texts) list.push(input.text(input.uint64()))
      else input.skip(input.uint64())
    }
    return list
  }
  if (count * 8 > input.left()) input.bytes(count * 8)
  return Float64Array.from({ length: count }, () => (type === uint64Type ? input.uint64() : input.int64()))
}

/** Types of tensors by their number; those without an encoding are named in messages only. */
const tensorTypes: Readonly<Record<number, string>> = {
  ...{ 0: 'F32', 1: 'F16', 2: 'Q4_0', 3: 'Q4_1', 6: 'Q5_0', 7: 'Q5_1', 8: 'Q8_0', 9: 'Q8_1' },
  ...{ 10: 'Q2_K', 11: 'Q3_K', 12: 'Q4_K', 13: 'Q5_K', 14: 'Q6_K', 15: 'Q8_K' },
  ...{ 16: 'IQ2_XXS', 17: 'IQ2_XS', 18: 'IQ3_XXS', 19: 'IQ1_S', 20: 'IQ4_NL', 21: 'IQ3_S', 22: 'IQ2_S', 23: 'IQ4_XS' },
  ...{ 24: 'I8', 25: 'I16', 26: 'I32', 27: 'I64', 28: 'F64', 29: 'IQ1_M', 30: 'BF16' },
  ...{ 34: 'TQ1_0', 35: 'TQ2_0', 39: 'MXFP4' },
}

function readTensor(folder: string, input: Cursor): GgufTensor {
  const name = checkName(folder, input.text(input.uint64()))
  const where = `${folder}: ${name}`
  const axes = input.uint32()
  if (axes > 4) throw new Error(`${where}: got ${axes} axes, want at most 4`)
  const shape = Array.from({ length: axes }, () => input.uint64()).reverse()
  const type = input.uint32()
  const dtype = tensorTypes[type] ?? `type ${type}`
  const encoding = Object.hasOwn(ggufEncodings, dtype) ? ggufEncodings[dtype] : undefined
  if (!encoding) {
    const known = Object.keys(ggufEncodings).join(', ')
    throw new Error(`${where}: is stored as ${dtype}, which is not read, want one of ${known}`)
  }
  if ((shape.at(-1) ?? 1) % encoding.values !== 0) {
    throw new Error(`${where}: got shape [${shape}], want rows of a multiple of ${encoding.values} for ${dtype}`)
  }
  return { name, shape, dtype, encoding, start: input.uint64() }
}

/** The tensors by name, with places in the file. @throws Error when they share a name or bytes, or leave the file. */
function placed(
  where: string,
  tensors: readonly GgufTensor[],
  dataStart: number,
  size: number,
): ReadonlyMap<string, GgufTensor> {
  let [end, before] = [dataStart, 'the header']
  for (const { name, shape, dtype, encoding, start } of tensors.toSorted((a, b) => a.start - b.start)) {
    const first = dataStart + start
    if (first < end) throw new Error(`${where}: ${name}: overlaps ${before}`)
    end = first + encodedBytes(encoding, sizeOf(shape))
    before = name
    if (!(end <= size)) {
      const claim = `${dtype} of shape [${shape}] from byte ${first}`
      throw new Error(`${where}: ${name}: got ${claim}, want an end within ${size}; the file is cut off or damaged`)
    }
  }
  const named = new Map(tensors.map((tensor) => [tensor.name, { ...tensor, start: dataStart + tensor.start }]))
  if (named.size === tensors.length) return named
  const seen = new Set<string>()
  const twice = tensors.find(({ name }) => seen.size === seen.add(name).size)!.name
  throw new Error(`${where}: has two tensors ${twice}`)
}
