/** The members of a zip archive, read by range: what PyTorch saves is one. Nothing that an archive claims is believed. */

import type { ReadRange } from './encodings.ts'
import type { Source } from './files.ts'
import { inflateRange } from './inflate.ts'
import { checkName } from './names.ts'

/** A file inside an archive. */
export interface ZipMember {
  readonly name: string
  /** Bytes, uncompressed. */
  readonly size: number
  /** Whether it is compressed, so that reading any range of it inflates all before it. */
  readonly deflated: boolean
  /** Bytes of it, uncompressed. @throws Error naming the archive and member when they cannot be had. */
  readonly read: ReadRange
}

/** The most bytes of a list of members; PyTorch's have about 100 bytes a tensor. */
const directoryLimit = 2 ** 24

/** Deflate cannot make more of a byte (zlib's technical details). */
const mostInflation = 1032

/**
 * The members of an archive by name.
 * @throws Error naming the file when it is no archive, or its members are not where it says, overlap, share a name, are
 * encrypted, or compressed otherwise than by deflate.
 */
export async function openZip(source: Source, path: string): Promise<ReadonlyMap<string, ZipMember>> {
  const where = `${source.name}/${path}`
  const size = await source.size(path)
  const end = await findDirectory(source, path, where, size)
  const bytes = await source.read(path, end.start, end.start + end.size)
  const entries = readDirectory(where, bytes, end)
  checkApart(where, entries, end.start)
  return new Map(entries.map((entry) => [entry.name, member(source, path, where, entry, end.start)]))
}

interface Directory {
  readonly start: number
  readonly size: number
  readonly count: number
}

interface Entry {
  readonly name: string
  readonly deflated: boolean
  readonly packed: number
  readonly size: number
  /** Where the member's own header begins. */
  readonly header: number
}

const [endMark, end64Mark, locatorMark, entryMark, headerMark] = [
  0x06054b50, 0x06064b50, 0x07064b50, 0x02014b50, 0x04034b50,
] as const

async function findDirectory(source: Source, path: string, where: string, size: number): Promise<Directory> {
  const tailStart = Math.max(0, size - 0xffff - 22 - 20)
  const tail = viewOf(await source.read(path, tailStart, size))
  let at = tail.byteLength - 22
  while (
    at >= 0 &&
    !(tail.getUint32(at, true) === endMark && at + 22 + tail.getUint16(at + 20, true) === tail.byteLength)
  )
    at--
  if (at < 0) throw new Error(`${where}: is no zip archive, or is cut off`)
  let found: Directory = {
    count: tail.getUint16(at + 10, true),
    size: tail.getUint32(at + 12, true),
    start: tail.getUint32(at + 16, true),
  }
  let before = tailStart + at
  if (at >= 20 && tail.getUint32(at - 20, true) === locatorMark) {
    before = large(tail, at - 12)
    if (!(before + 56 <= tailStart + at)) throw new Error(`${where}: the archive's end is not where it says`)
    const end = viewOf(await source.read(path, before, before + 56))
    if (end.getUint32(0, true) !== end64Mark) throw new Error(`${where}: the archive's end is not where it says`)
    found = { count: large(end, 32), size: large(end, 40), start: large(end, 48) }
  }
  if (found.start + found.size > before || found.count * 46 > found.size) {
    const claim = `${found.count} members in ${found.size} bytes from ${found.start}`
    throw new Error(`${where}: got a list of ${claim}, want one that fits before byte ${before}; the file is damaged`)
  }
  if (found.size > directoryLimit)
    throw new Error(`${where}: got a list of members of ${found.size} bytes, want at most ${directoryLimit}`)
  return found
}

function readDirectory(where: string, bytes: Uint8Array, { count }: Directory): Entry[] {
  const view = viewOf(bytes)
  const entries = new Map<string, Entry>()
  let at = 0
  for (let i = 0; i < count; i++) {
    const cut = () => new Error(`${where}: the archive's list of members is damaged at member ${i}`)
    if (at + 46 > view.byteLength || view.getUint32(at, true) !== entryMark) throw cut()
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)]
    const nameEnd = at + 46 + view.getUint16(at + 28, true)
    const extraEnd = nameEnd + view.getUint16(at + 30, true)
    if (extraEnd > view.byteLength) throw cut()
    const name = checkName(where, new TextDecoder().decode(bytes.subarray(at + 46, nameEnd)))
    const sizes = [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)]
    const [size, packed, header] = widened(sizes, view, nameEnd, extraEnd) as [number, number, number]
    if (flags & 1) throw new Error(`${where}: ${name} is encrypted`)
    if (method !== 0 && method !== 8)
      throw new Error(`${where}: ${name} is compressed by method ${method}, want stored or deflate`)
    if (method === 0 ? size !== packed : size > packed * mostInflation)
      throw new Error(`${where}: ${name}: got ${packed} bytes for ${size}; the file is damaged`)
    if (entries.has(name)) throw new Error(`${where}: has two members ${name}`)
    entries.set(name, { name, deflated: method === 8, packed, size, header })
    at = extraEnd + view.getUint16(at + 32, true)
  }
  return [...entries.values()]
}

/** Fields that are all ones are in the entry's extra data of type 1, in their order, as 64 bits. */
function widened(fields: readonly number[], view: DataView, start: number, end: number): number[] {
  let at = start
  while (at + 4 <= end && view.getUint16(at, true) !== 1) at += 4 + view.getUint16(at + 2, true)
  let next = at + 4
  return fields.map((field) => {
    if (field !== 0xffffffff) return field
    if (next + 8 > end) return Number.POSITIVE_INFINITY
    next += 8
    return large(view, next - 8)
  })
}

/** Bombs let many members share the same bytes. */
function checkApart(where: string, entries: readonly Entry[], end: number): void {
  let last = 0
  for (const { name, header, packed } of entries.toSorted((a, b) => a.header - b.header)) {
    if (!(header >= last)) throw new Error(`${where}: ${name} overlaps another member`)
    last = header + 30 + packed
    if (!(last <= end)) throw new Error(`${where}: ${name} lies outside of the file; it is cut off or damaged`)
  }
}

/** @param end where the list of members begins, and members have ended */
function member(source: Source, path: string, where: string, entry: Entry, end: number): ZipMember {
  const { name, deflated, size, packed, header } = entry
  let data: Promise<number> | undefined
  const dataStart = async () => {
    const view = viewOf(await source.read(path, header, header + 30))
    if (view.getUint32(0, true) !== headerMark) throw new Error(`${where}: ${name} is not where the archive says`)
    const begin = header + 30 + view.getUint16(26, true) + view.getUint16(28, true)
    if (begin + packed > end) throw new Error(`${where}: ${name} lies outside of the file; it is cut off or damaged`)
    return begin
  }
  const read: ReadRange = async (start, stop, into) => {
    if (!(start >= 0 && start <= stop && stop <= size))
      throw new RangeError(`${where}: ${name}: got bytes [${start}, ${stop}), want a range within [0, ${size})`)
    data ??= dataStart()
    const begin = await data
    if (!deflated) return source.read(path, begin + start, begin + stop, into)
    const packedBytes: ReadRange = (from, to) => source.read(path, begin + from, begin + to)
    return inflateRange(`${where}: ${name}`, packedBytes, packed, start, stop)
  }
  return { name, size, deflated, read }
}

/** 64 bits as a number; what is past exact numbers is infinite, so that every comparison of sizes refuses it. */
function large(view: DataView, at: number): number {
  const value = Number(view.getBigUint64(at, true))
  return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
