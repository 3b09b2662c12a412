/** How files store values: a table from dtype to the decoding of its bytes, and reading a tensor's values by range. */

import { fromBfloat16, fromFloat16 } from './half.ts'

/** How the values of one dtype are stored: blocks of `values` values that take `bytes` bytes each. */
export interface Encoding {
  readonly values: number
  readonly bytes: number
  /** Whole blocks, in a buffer that begins with them, to their values. */
  decode(bytes: Uint8Array<ArrayBuffer>, into: Float32Array): void
}

/** Encodings by the code that safetensors and GGUF have for the dtype. */
export type Encodings = Readonly<Record<string, Encoding>>

const plain = (bytes: number, decode: Encoding['decode']): Encoding => ({ values: 1, bytes, decode })

/** Plain floating-point numbers, which every format has. */
export const floatEncodings: Encodings = {
  F32: plain(4, (bytes, into) => into.set(new Float32Array(bytes.buffer, 0, into.length))),
  F16: plain(2, (bytes, into) => fromFloat16(new Uint16Array(bytes.buffer, 0, into.length), into)),
  BF16: plain(2, (bytes, into) => fromBfloat16(new Uint16Array(bytes.buffer, 0, into.length), into)),
  F64: plain(8, (bytes, into) => into.set(new Float64Array(bytes.buffer, 0, into.length))),
}

/** The bytes that a number of values takes; the number must be one of whole blocks. */
export function encodedBytes({ values, bytes }: Encoding, count: number): number {
  return (count / values) * bytes
}

/** A range of bytes of something open, counted from its own start; `into` as for a `Source`. */
export type ReadRange = (start: number, end: number, into?: Uint8Array<ArrayBuffer>) => Promise<Uint8Array>

/** Bytes that are read and decoded at a time. */
const chunk = 2 ** 20

/**
 * Values [first, first + count), both of whole blocks, as float32.
 * Float32 is read as it is; all else in pieces, so that little is held besides the result.
 * @param options.piece bytes read at a time; default 1 MiB
 * @param options.into memory of at least as many values that is used for them
 */
export async function readValues(
  read: ReadRange,
  encoding: Encoding,
  first: number,
  count: number,
  { piece = chunk, into }: { readonly piece?: number; readonly into?: Float32Array<ArrayBuffer> | undefined } = {},
): Promise<Float32Array<ArrayBuffer>> {
  const at = (value: number) => encodedBytes(encoding, value)
  if (encoding === floatEncodings.F32) {
    const room = into && into.byteOffset === 0 ? new Uint8Array(into.buffer) : undefined
    return new Float32Array(aligned(await read(at(first), at(first + count), room)).buffer, 0, count)
  }
  const values = into?.subarray(0, count) ?? new Float32Array(count)
  const step = encoding.values * Math.max(1, Math.floor(piece / encoding.bytes))
  const room = new Uint8Array(at(Math.min(step, count)))
  for (let done = 0; done < count; done += step) {
    const end = Math.min(done + step, count)
    encoding.decode(aligned(await read(at(first + done), at(first + end), room)), values.subarray(done, end))
  }
  return values
}

/** The words of 16-bit values, as they are. */
export async function readWords(
  read: ReadRange,
  count: number,
  into?: Uint16Array<ArrayBuffer>,
): Promise<Uint16Array<ArrayBuffer>> {
  const room = into && into.byteOffset === 0 ? new Uint8Array(into.buffer) : undefined
  return new Uint16Array(aligned(await read(0, 2 * count, room)).buffer, 0, count)
}

/** The bytes at the start of a buffer, which typed arrays can look into. */
function aligned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const own = bytes.buffer instanceof ArrayBuffer && bytes.byteOffset === 0
  return own ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes)
}
