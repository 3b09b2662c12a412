/** The header of a safetensors file, checked so strictly that every tensor it promises can be read. */

import { isObject, parseJson, show } from './json.ts'
import { checkName } from './names.ts'

/** Where a tensor lies in the data of a file. */
export interface StoredTensor {
  /** The format's code, e.g. `BF16`. */
  readonly dtype: string
  readonly shape: readonly number[]
  /** Bytes [start, end) after the header. */
  readonly start: number
  readonly end: number
}

/** Bytes of one element by dtype code. */
const elementBytes: ReadonlyMap<unknown, number> = new Map([
  ...(['F64', 'I64', 'U64'] as const).map((code) => [code, 8] as const),
  ...(['F32', 'I32', 'U32'] as const).map((code) => [code, 4] as const),
  ...(['F16', 'BF16', 'I16', 'U16'] as const).map((code) => [code, 2] as const),
  ...(['I8', 'U8', 'BOOL', 'F8_E4M3', 'F8_E5M2'] as const).map((code) => [code, 1] as const),
])

const mostAxes = 32

/**
 * The tensors of a header, in the order of their data, and its metadata.
 * @param where for messages: the file
 * @param bytes the header's JSON
 * @param dataBytes the number of bytes after the header
 * @throws Error when it is not the format's JSON, a tensor's bytes are not its shape's, or the tensors do not fill the
 * data without gap or overlap. Source: the format description of huggingface/safetensors.
 */
export function parseHeader(
  where: string,
  bytes: Uint8Array,
  dataBytes: number,
): { tensors: ReadonlyMap<string, StoredTensor>; metadata: Readonly<Record<string, string>> } {
  const { __metadata__: metadata = {}, ...entries } = parseObject(where, bytes)
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === 'string')) {
    throw new Error(`${where}: __metadata__ is wrong, want an object of strings`)
  }
  const stored = Object.entries(entries).map(
    ([name, entry]) => [checkName(where, name), parseTensor(`${where}: ${name}`, entry)] as const,
  )
  stored.sort(([, a], [, b]) => a.start - b.start || a.end - b.end)
  let offset = 0
  for (const [name, { start, end }] of stored) {
    if (start !== offset) {
      const what = start < offset ? 'overlaps another tensor' : 'leaves a gap before it'
      throw new Error(`${where}: ${name}: ${what}, got an offset of ${start}, want ${offset}`)
    }
    offset = end
  }
  if (offset !== dataBytes) {
    const hint = offset > dataBytes ? 'the file is cut off' : 'the file is longer than its tensors'
    throw new Error(`${where}: got ${dataBytes} bytes of data, want ${offset}; ${hint}`)
  }
  return { tensors: new Map(stored), metadata: metadata as Record<string, string> }
}

function parseObject(where: string, bytes: Uint8Array): Record<string, unknown> {
  let header: unknown
  try {
    header = parseJson(`${where}: header`, bytes, { unique: true })
  } catch (error) {
    throw new Error(`${(error as Error).message}; the file is damaged or no safetensors`, { cause: error })
  }
  if (!isObject(header)) throw new Error(`${where}: the header is not a JSON object; the file is no safetensors`)
  return header
}

function parseTensor(where: string, entry: unknown): StoredTensor {
  if (!isObject(entry)) throw new Error(`${where}: is not described by an object`)
  const { dtype, shape, data_offsets: offsets } = entry
  const bytes = elementBytes.get(dtype)
  if (typeof dtype !== 'string' || bytes === undefined) {
    throw new Error(`${where}: got dtype ${show(dtype)}, want one of ${[...elementBytes.keys()].join(', ')}`)
  }
  if (!isSizes(shape) || shape.length > mostAxes)
    throw new Error(`${where}: got shape ${show(shape)}, want a list of sizes`)
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    throw new Error(`${where}: got data_offsets ${show(offsets)}, want [start, end]`)
  }
  const [start, end] = offsets as [number, number]
  const want = shape.reduce((product, size) => product * size, bytes)
  if (end - start !== want) {
    throw new Error(`${where}: got ${end - start} bytes, want ${want} for ${dtype} of shape [${shape}]`)
  }
  return { dtype, shape, start, end }
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0)
}
