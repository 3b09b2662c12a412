/** Tables of labelled texts in common formats, CSV, TSV and JSON lines, with columns chosen by name or number. */

import type { Source } from '../io/files.ts'
import { type Classes, type Example, labelOf } from './examples.ts'
import { at, rows, textLines } from './lines.ts'

/** A column, by the name its header gives it or by its number from 0. */
export type Column = string | number

/** How a table is written, and which of its columns are read. */
export interface TableOptions {
  /** Default: by the end of the file's name, `.csv`, `.tsv`, `.jsonl` or `.ndjson`. */
  readonly format?: 'csv' | 'tsv' | 'jsonl'
  /** The column of texts. Default `text`. */
  readonly text?: Column
  /** The column of second texts. Default: none. */
  readonly pair?: Column
  /** The column of labels. Default `label`. */
  readonly label?: Column
  /** Whether the first row names the columns. Default: when a column is chosen by name. */
  readonly header?: boolean
  /** Whether `"` encloses fields (RFC 4180). Default true for CSV, false for TSV. */
  readonly quotes?: boolean
  /** The classes in order, as the file writes them; empty where labels are values. Default: {@link tableClasses}. */
  readonly classes?: Classes
}

/**
 * The examples of a table.
 * @throws Error naming file and line for a column, quote or label that is not as it should be.
 */
export async function* readTable(source: Source, path: string, options: TableOptions = {}): AsyncGenerator<Example> {
  const classes = options.classes ?? (await tableClasses(source, path, options))
  for await (const { where, text, pair, label } of cells(source, path, options)) {
    yield { input: text, ...(pair !== undefined && { pair }), label: labelOf(label, classes, where) }
  }
}

/**
 * The labels that a table writes, as classes in order: numbers by size, else names by alphabet. Reads the whole table.
 * @throws Error as {@link readTable}.
 */
export async function tableClasses(source: Source, path: string, options: TableOptions = {}): Promise<Classes> {
  const found = new Set<string>()
  for await (const { label } of cells(source, path, options)) found.add(label)
  const names = [...found].sort()
  return names.every((name) => /^-?\d+$/.test(name)) ? names.sort((a, b) => Number(a) - Number(b)) : names
}

interface Cells {
  readonly where: string
  readonly text: string
  readonly pair?: string | undefined
  readonly label: string
}

async function* cells(source: Source, path: string, options: TableOptions): AsyncGenerator<Cells> {
  const { text = 'text', pair, label = 'label' } = options
  for await (const { where, cell } of records(source, path, options)) {
    yield { where, text: cell(text), pair: pair === undefined ? undefined : cell(pair), label: cell(label) }
  }
}

/** A row, and what stands in a column of it. */
interface Cellular {
  readonly where: string
  readonly cell: (column: Column) => string
}

function records(source: Source, path: string, options: TableOptions): AsyncGenerator<Cellular> {
  const format = options.format ?? formatOf(source, path)
  return format === 'jsonl' ? objects(source, path) : fields(source, path, { ...options, format })
}

function formatOf(source: Source, path: string): 'csv' | 'tsv' | 'jsonl' {
  const end = /\.(csv|tsv|jsonl|ndjson)$/i.exec(path)?.[1]?.toLowerCase()
  if (end) return end === 'ndjson' ? 'jsonl' : (end as 'csv' | 'tsv' | 'jsonl')
  throw new Error(`${source.name}/${path}: got no known end of a file name, want .csv, .tsv or .jsonl, or a format`)
}

async function* fields(
  source: Source,
  path: string,
  { format, quotes = format === 'csv', text = 'text', pair, label = 'label', header }: TableOptions,
): AsyncGenerator<Cellular> {
  const isNamed = header ?? [text, pair, label].some((column) => typeof column === 'string')
  let names: readonly string[] | undefined
  for await (const row of rows(source, path, { delimiter: format === 'csv' ? ',' : '\t', quotes })) {
    const where = at(source, path, row.line)
    if (isNamed && !names) {
      names = row.fields
      continue
    }
    if (names && row.fields.length !== names.length) {
      throw new Error(`${where}: got ${row.fields.length} columns, want the ${names.length} of the header`)
    }
    yield { where, cell: (column) => cellOf(row.fields, names, column, where) }
  }
}

function cellOf(
  values: readonly string[],
  names: readonly string[] | undefined,
  column: Column,
  where: string,
): string {
  const index = typeof column === 'number' ? column : (names?.indexOf(column) ?? -1)
  const value = values[index]
  if (value !== undefined) return value
  const found = names ? `the columns ${names.join(', ')}` : `${values.length} columns without names`
  throw new Error(`${where}: got ${found}, want ${typeof column === 'number' ? `one of number ${column}` : column}`)
}

async function* objects(source: Source, path: string): AsyncGenerator<Cellular> {
  for await (const [line, text] of textLines(source, path)) {
    const where = at(source, path, line)
    const record = parsedObject(text, where)
    yield { where, cell: (column) => jsonCell(record, column, where) }
  }
}

function parsedObject(text: string, where: string): Readonly<Record<string, unknown>> | readonly unknown[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error(`${where}: is not JSON, want one object or list a line`)
  }
  if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>
  throw new Error(`${where}: got ${text.slice(0, 40)}, want an object or a list`)
}

function jsonCell(record: object, column: Column, where: string): string {
  const value: unknown = Object.hasOwn(record, column) ? record[column as keyof object] : undefined
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  throw new Error(`${where}: got ${column}: ${JSON.stringify(value) ?? 'nothing'}, want a text or a number`)
}
