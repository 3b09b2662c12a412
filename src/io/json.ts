/** JSON from files that nobody vouches for: size, depth and number of values are capped before anything is parsed. */

import type { Source } from './files.ts'

/** Caps of {@link parseJson}; the defaults fit the largest tokenizers and headers that are in use many times over. */
export interface JsonLimits {
  /** Bytes of text. Default 128 MiB. */
  readonly bytes?: number
  /** How deep lists and objects may nest. Default 64. */
  readonly depth?: number
  /** Keys, values and brackets in all. Default 8 million. */
  readonly values?: number
  /** Whether a key that an object has twice is an error; else the last one counts. Default false. */
  readonly unique?: boolean
}

const most = { bytes: 2 ** 27, depth: 64, values: 8_000_000 } as const

/**
 * Parses JSON text.
 * @param where for messages: the file, or the part of it
 * @throws Error in one line when it is no UTF-8, no JSON, or past a cap.
 */
export function parseJson(where: string, bytes: Uint8Array, limits: JsonLimits = {}): unknown {
  const { unique = false, ...caps } = { ...most, ...limits }
  if (bytes.length > caps.bytes)
    throw new Error(`${where}: got ${bytes.length} bytes of JSON, want at most ${caps.bytes}`)
  const keys = checkSize(where, bytes, caps)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    const reason = (error as Error).message.replace(/\p{Cc}/gu, ' ').slice(0, 200)
    throw new Error(`${where}: is not JSON: ${reason}`, { cause: error })
  }
  if (unique && countKeys(value) !== keys) throw new Error(`${where}: an object has the same key twice`)
  return value
}

/**
 * A JSON object in a file; its size is checked before it is read.
 * @throws Error naming the file when it is missing, too large or no JSON object.
 */
export async function readJsonObject(source: Source, path: string): Promise<Readonly<Record<string, unknown>>> {
  const value = parseJson(`${source.name}: ${path}`, await readWhole(source, path))
  if (isObject(value)) return value
  throw new Error(`${source.name}: ${path}: want a JSON object`)
}

/** All bytes of a file that should be small. @throws Error when it is missing or larger than `limit`, unread. */
export async function readWhole(source: Source, path: string, limit: number = most.bytes): Promise<Uint8Array> {
  const size = await source.size(path)
  if (size > limit) throw new Error(`${source.name}: ${path}: got ${size} bytes, want at most ${limit}`)
  return source.read(path, 0, size)
}

/** Whether a value is an object, and neither null nor a list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A value in a message: short, whatever it is. */
export function show(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 80)
}

const [quote, backslash, colon, comma] = [0x22, 0x5c, 0x3a, 0x2c] as const

/** One pass over the bytes outside of strings, which checks the caps; answers the number of keys. */
function checkSize(where: string, bytes: Uint8Array, caps: { readonly depth: number; readonly values: number }) {
  let [depth, marks, keys] = [0, 0, 0]
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    if (byte === quote) {
      for (i++; i < bytes.length && bytes[i] !== quote; i++) if (bytes[i] === backslash) i++
    } else if (byte === colon || byte === comma) {
      marks++
      if (byte === colon) keys++
    } else if ((byte | 0x20) === 0x7b) {
      marks++
      if (++depth > caps.depth) throw new Error(`${where}: nests deeper than ${caps.depth} levels of JSON`)
    } else if ((byte | 0x20) === 0x7d) depth--
  }
  if (marks > caps.values)
    throw new Error(`${where}: got ${marks} keys and values of JSON, want at most ${caps.values}`)
  return keys
}

function countKeys(root: unknown): number {
  let count = 0
  const left: unknown[] = [root]
  while (left.length > 0) {
    const value = left.pop()
    if (isObject(value)) count += Object.keys(value).length
    if (typeof value === 'object' && value !== null)
      for (const inner of Object.values(value)) if (typeof inner === 'object' && inner !== null) left.push(inner)
  }
  return count
}
