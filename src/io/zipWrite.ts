/** Writes zip archives: members as they are, one after the other, then their list (APPNOTE 6.3, stored members). */

/** A file to put into an archive. */
export interface ZipInput {
  readonly path: string
  readonly size: number
  /** Its bytes in pieces; read twice, first for the checksum. */
  bytes(): AsyncIterable<Uint8Array>
}

const mostBytes = 0xffffffff

/**
 * The bytes of an archive in pieces. Members carry no times, so equal files give equal archives.
 * @throws RangeError for more than 4 GiB or 65535 members, which this form of archive cannot have.
 */
export async function* zipBytes(files: readonly ZipInput[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  if (files.length > 0xffff) throw new RangeError(`zipBytes: got ${files.length} files, want at most 65535`)
  const entries: Uint8Array<ArrayBuffer>[] = []
  let at = 0
  for (const file of files) {
    const crc = await checksum(file)
    const name = new TextEncoder().encode(file.path)
    const start = at
    const header = record(0x04034b50, [20, utf8, 0, 0, dosDay], [crc, file.size, file.size], [name.length, 0])
    yield header
    yield name
    for await (const part of file.bytes()) yield part as Uint8Array<ArrayBuffer>
    at += header.length + name.length + file.size
    if (at > mostBytes) throw new RangeError(`zipBytes: ${file.path} ends past 4 GiB, want a smaller archive`)
    const entry = [20, 20, utf8, 0, 0, dosDay]
    entries.push(record(0x02014b50, entry, [crc, file.size, file.size], [name.length, 0, 0, 0, 0], [0, start]), name)
  }
  const size = entries.reduce((sum, { length }) => sum + length, 0)
  yield* entries
  yield record(0x06054b50, [0, 0, files.length, files.length], [size, at], [0])
}

/** Names are UTF-8. */
const utf8 = 0x0800
/** The first day that the format knows: 1 January 1980. */
const dosDay = 0x21

/** A mark of 4 bytes, then groups of fields: of 2 bytes and of 4 bytes in turn. */
function record(mark: number, ...groups: readonly (readonly number[])[]): Uint8Array<ArrayBuffer> {
  const size = groups.reduce((sum, group, i) => sum + group.length * (i % 2 === 0 ? 2 : 4), 4)
  const view = new DataView(new ArrayBuffer(size))
  view.setUint32(0, mark, true)
  let at = 4
  for (const [i, group] of groups.entries()) {
    for (const value of group) {
      if (i % 2 === 0) view.setUint16(at, value, true)
      else view.setUint32(at, value, true)
      at += i % 2 === 0 ? 2 : 4
    }
  }
  return new Uint8Array(view.buffer)
}

/** CRC-32 (ISO 3309) of a file. @throws Error when it has another size than it says. */
async function checksum({ path, size, bytes }: ZipInput): Promise<number> {
  let crc = -1
  let read = 0
  for await (const part of bytes()) {
    read += part.length
    for (let i = 0; i < part.length; i++) crc = table[(crc ^ part[i]!) & 0xff]! ^ (crc >>> 8)
  }
  if (read !== size) throw new Error(`zipBytes: ${path}: got ${read} bytes, want ${size}`)
  return ~crc >>> 0
}

const table = Int32Array.from({ length: 256 }, (_, i) => {
  let c = i
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1
  return c
})
