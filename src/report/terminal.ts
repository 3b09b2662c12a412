/** The rows of a report as a table for a terminal of 80 columns. */

import { formatBytes, formatSeconds } from '../base/format.ts'
import { decimals, headline } from './summary.ts'
import type { Report, Row } from './types.ts'

const columns: readonly { title: string; width: number; cell: (row: Row) => string }[] = [
  { title: 'perplexity', width: 10, cell: (row) => decimals(row.perplexity, 2) },
  { title: 'loss', width: 7, cell: (row) => decimals(row.loss, 3) },
  { title: 'KL', width: 7, cell: (row) => decimals(row.kl, 3) },
  { title: 'entropy', width: 7, cell: (row) => decimals(row.entropy, 2) },
  { title: 'monotone', width: 8, cell: (row) => decimals(row.monotonicity, 2) },
  { title: 'time', width: 7, cell: (row) => formatSeconds(row.seconds) },
]

/**
 * The table of rows, the headline under it, and the notes; no line is longer than `width`.
 * @param width - characters in a line, default 80
 */
export function reportText(report: Report, width = 80): string {
  const rest = columns.reduce((sum, column) => sum + 2 + column.width, 0)
  const nameWidth = Math.max(8, Math.min(width - rest, longest(report.rows.map(({ name }) => name))))
  const line = (name: string, cells: readonly string[]) =>
    [name.slice(0, nameWidth).padEnd(nameWidth), ...cells].join('  ').trimEnd().slice(0, width)
  const head = line(
    '',
    columns.map(({ title, width: wide }) => title.padStart(wide)),
  )
  const rows = report.rows.map((row) =>
    line(
      row.name,
      columns.map(({ cell, width: wide }) => cell(row).padStart(wide)),
    ),
  )
  const notes = report.rows.flatMap(({ name, note }) => (note ? [`${name}: ${note}`] : []))
  const memory = report.peakMemoryBytes === undefined ? '' : `, ${formatBytes(report.peakMemoryBytes)} of memory`
  const cost = `${formatSeconds(report.seconds)}${memory}, seed ${report.seed}`
  const below = [headline(report), ...notes, cost].flatMap((text) => wrap(text, width))
  return [head, '─'.repeat(Math.min(width, longest([head, ...rows]))), ...rows, '', ...below].join('\n')
}

function longest(texts: readonly string[]): number {
  return texts.reduce((most, text) => Math.max(most, text.length), 0)
}

/** Words in lines of at most `width` characters. */
export function wrap(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(/\s+/)) {
    const last = lines[lines.length - 1]!
    if (last === '') lines[lines.length - 1] = word.slice(0, width)
    else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word.slice(0, width))
  }
  return lines
}
