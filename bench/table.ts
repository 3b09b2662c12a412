/** Results of benches as text: a table of at most 80 columns. */

import { formatMetric } from '../src/base/format.ts'
import { type Row, reaches } from './row.ts'

const columns: readonly { title: string; width: number; cell: (row: Row) => string }[] = [
  { title: 'value', width: 14, cell: ({ value, unit }) => `${formatMetric(value)} ${unit}` },
  { title: 'beside', width: 18, cell: ({ peer = '' }) => peer },
  { title: 'ratio', width: 5, cell: ({ ratio }) => ratio?.toFixed(2) ?? '' },
  { title: 'target', width: 8, cell: targetOf },
]
const caseWidth = 80 - columns.reduce((sum, { width }) => sum + width + 1, 0)

/** The table of rows; a text too long for its column is cut. */
export function tableText(rows: readonly Row[]): string {
  const line = (name: string, cells: readonly string[]) =>
    [name.slice(0, caseWidth).padEnd(caseWidth), ...cells].join(' ').trimEnd()
  const fit = (text: string, width: number) => text.slice(0, width).padStart(width)
  const head = line(
    'case',
    columns.map(({ title, width }) => fit(title, width)),
  )
  const body = rows.map((row) =>
    line(
      row.case,
      columns.map(({ cell, width }) => fit(cell(row), width)),
    ),
  )
  return [head, '─'.repeat(80), ...body].join('\n')
}

/** `≥ 0.75 ✓` for a ratio, `≤ 300 ✗` for a value. */
function targetOf(row: Row): string {
  if (row.target === undefined) return ''
  return `${row.ratio === undefined ? '≤' : '≥'} ${row.target} ${reaches(row) ? '✓' : '✗'}`
}
