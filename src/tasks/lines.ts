/** Lines and rows of large files, read in pieces, with the number of each line for messages. */

import type { Source } from '../io/files.ts'

/** A line of a file as bytes, without its line feed. */
export interface ByteLine {
  /** From 1. */
  readonly number: number
  readonly bytes: Uint8Array
}

/** The fields of a row. */
export interface Row {
  /** The line the row begins on, from 1. */
  readonly line: number
  readonly fields: readonly string[]
}

const pieceBytes = 4 * 2 ** 20

const decoder = new TextDecoder('utf-8', { fatal: true })

/** The text of bytes, without a byte order mark. @throws Error that names `where` when they are not UTF-8. */
export function textOf(bytes: Uint8Array, where: string): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new Error(`${where}: is not UTF-8 text`)
  }
}

/**
 * The lines of a file, of which one piece at a time is in memory.
 * @param piece bytes read at once, 4 MiB by default
 */
export async function* byteLines(source: Source, path: string, piece = pieceBytes): AsyncGenerator<ByteLine> {
  const size = await source.size(path)
  let rest: Uint8Array = new Uint8Array(0)
  let number = 0
  for (let at = 0; at < size; at += piece) {
    const bytes = joined(rest, await source.read(path, at, Math.min(size, at + piece)))
    let start = 0
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      yield { number: ++number, bytes: bytes.subarray(start, end) }
      start = end + 1
    }
    rest = bytes.subarray(start)
  }
  if (rest.length > 0) yield { number: number + 1, bytes: rest }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second
  const both = new Uint8Array(first.length + second.length)
  both.set(first)
  both.set(second, first.length)
  return both
}

/** The lines of a text file that are not empty. @throws Error naming file and line where one is not UTF-8. */
export async function* textLines(source: Source, path: string, piece?: number): AsyncGenerator<[number, string]> {
  for await (const [number, line] of allLines(source, path, piece)) if (line !== '') yield [number, line]
}

async function* allLines(source: Source, path: string, piece?: number): AsyncGenerator<[number, string]> {
  for await (const { number, bytes } of byteLines(source, path, piece)) {
    const end = bytes.at(-1) === 13 ? bytes.length - 1 : bytes.length
    yield [number, textOf(bytes.subarray(0, end), at(source, path, number))]
  }
}

/** For messages: the place of a line. */
export function at(source: Source, path: string, line: number): string {
  return `${source.name}/${path}:${line}`
}

/** How rows are written. */
export interface RowFormat {
  /** What stands between fields: `,` or a tab. */
  readonly delimiter: string
  /**
   * Whether a field that begins with `"` goes on to the next single `"`, over delimiters and line feeds, with `""` for one
   * (RFC 4180; a line break within is read as a line feed). Without, quotes are like other characters. Default true.
   */
  readonly quotes?: boolean
  /** Bytes read at once, 4 MiB by default. */
  readonly piece?: number
}

/** The rows of a table; empty lines are left out. @throws Error naming file and line for quotes that do not match. */
export async function* rows(source: Source, path: string, format: RowFormat): AsyncGenerator<Row> {
  const { delimiter, quotes = true, piece } = format
  let open: Quoted | undefined
  for await (const [number, line] of allLines(source, path, piece)) {
    if (!quotes) {
      if (line !== '') yield { line: number, fields: line.split(delimiter) }
      continue
    }
    if (!open && line === '') continue
    const row: Quoted = open ?? { line: number, fields: [], field: undefined }
    open = readQuoted(row, line, delimiter, at(source, path, number)) ? undefined : row
    if (!open) yield { line: row.line, fields: row.fields }
  }
  if (open) throw new Error(`${at(source, path, open.line)}: a quote is opened in this row and never closed`)
}

/** A row that is being read; `field` is the part so far of a quoted field that began on an earlier line. */
interface Quoted {
  readonly line: number
  readonly fields: string[]
  field: string | undefined
}

/** Adds a line to a row; whether the row ends with it. */
function readQuoted(row: Quoted, line: string, delimiter: string, where: string): boolean {
  let place = 0
  if (row.field !== undefined) row.field += '\n'
  while (place <= line.length) {
    if (row.field === undefined && line[place] !== '"') {
      const end = line.indexOf(delimiter, place)
      row.fields.push(line.slice(place, end < 0 ? undefined : end))
      place = end < 0 ? line.length + 1 : end + 1
      continue
    }
    const begin = row.field === undefined ? place + 1 : place
    const end = closingQuote(line, begin)
    row.field = (row.field ?? '') + line.slice(begin, end < 0 ? undefined : end).replaceAll('""', '"')
    if (end < 0) return false
    if (end + 1 < line.length && line[end + 1] !== delimiter) {
      throw new Error(`${where}: got ${JSON.stringify(line[end + 1])} after a closing quote, want the next field`)
    }
    row.fields.push(row.field)
    row.field = undefined
    place = end + 2
  }
  return true
}

/** The place of the first quote that is not doubled, or −1. */
function closingQuote(line: string, from: number): number {
  let place = line.indexOf('"', from)
  while (place >= 0 && line[place + 1] === '"') place = line.indexOf('"', place + 2)
  return place
}
