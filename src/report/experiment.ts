/** The result of an experiment for a terminal and as a page: measured rows beside the published ones, and its charts. */

import { formatSeconds } from '../base/format.ts'
import type { Column, ExperimentResult, PublishedRow } from './experimentTypes.ts'
import { figure, page, section, wide } from './markup.ts'
import { lineChart } from './plots.ts'
import { hueCount } from './styles.ts'
import { decimals } from './summary.ts'
import { escapeText } from './svg.ts'
import { wrap } from './terminal.ts'

/** One cell: a number as its column shows it, with its unit; a dash where there is none. */
function cell({ name, digits }: Column, values: Readonly<Record<string, number>> | undefined): string {
  return decimals(values?.[name], digits)
}

const titleOf = ({ name, unit }: Column): string => (unit ? `${name} ${unit}` : name)

/** Only columns that something was published for have a published one beside them. */
function publishedColumns({ columns, rows, unmeasured }: ExperimentResult): readonly Column[] {
  const published = [...rows.flatMap((row) => row.published ?? []), ...unmeasured]
  return columns.filter(({ name }) => published.some(({ values }) => name in values))
}

interface Line {
  readonly name: string
  readonly cells: readonly string[]
  readonly note: string
}

function linesOf(result: ExperimentResult, title = titleOf): { head: string[]; lines: Line[] } {
  const published = publishedColumns(result)
  const { columns, rows, unmeasured } = result
  const line = (name: string, values?: PublishedRow['values'], known?: PublishedRow, seconds?: number, note = '') => ({
    name,
    cells: [
      ...columns.map((column) => cell(column, values)),
      ...published.map((column) => cell(column, known?.values)),
      seconds === undefined ? '' : formatSeconds(seconds),
    ],
    note: [note, known?.note ?? ''].filter(Boolean).join('; '),
  })
  return {
    head: [...columns.map(title), ...published.map((column) => `${title(column)}, paper`), 'time'],
    lines: [
      ...rows.map((row) => line(row.name, row.values, row.published, row.seconds, row.note)),
      ...unmeasured.map((known) => line(known.name, undefined, known)),
    ],
  }
}

/** A table of at most `width` characters a line, and the notes under it. */
export function experimentText(result: ExperimentResult, width = 80): string {
  const { head, lines } = linesOf(result, shortTitle)
  const widths = head.map((title, i) =>
    Math.max(...[shortened(title), ...lines.map(({ cells }) => cells[i]!)].map(size)),
  )
  const rest = widths.reduce((sum, wide) => sum + 2 + wide, 0)
  const names = Math.max(8, Math.min(width - rest, Math.max(...lines.map(({ name }) => name.length))))
  const row = (name: string, cells: readonly string[]) =>
    [name.slice(0, names).padEnd(names), ...cells.map((text, i) => text.padStart(widths[i]!))]
      .join('  ')
      .trimEnd()
      .slice(0, width)
  const notes = lines.flatMap(({ name, note }) => (note ? wrap(`${name}: ${note}`, width) : []))
  const { title, source, quick, seed, seconds } = result
  return [
    ...wrap(`${title} (${source})${quick ? ', quick: shows that it runs, not how good it is' : ''}`, width),
    row('', head.map(shortened)),
    ...lines.map(({ name, cells }) => row(name, cells)),
    '',
    ...notes,
    `${formatSeconds(seconds)}, seed ${seed}`,
  ].join('\n')
}

const size = (text: string): number => text.length
/** Titles in the terminal, where only % has room; `paper` stands beside the column that it belongs to. */
const shortened = (title: string): string => (title.endsWith(', paper') ? 'paper' : title)
const shortTitle = ({ name, unit }: Column): string => (unit === '%' ? `${name} %` : name)

/** The same as one page that needs nothing else, with its charts. */
export function experimentHtml(result: ExperimentResult, command: string): string {
  return page(result.title, experimentSections(result, command))
}

/** The same as pieces of markup, for a page that has its own head. */
export function experimentSections(result: ExperimentResult, command: string): string[] {
  const { head, lines } = linesOf(result)
  const cells = (line: Line) => line.cells.map((text) => `<td>${escapeText(text)}</td>`).join('')
  const note = (text: string) => (text ? `<span class="note">${escapeText(text)}</span>` : '')
  const table = `<div class="scroll" role="region" aria-label="Results" tabindex="0"><table>
<thead><tr><th scope="col">Attention</th>${head.map((title) => `<th scope="col">${escapeText(title)}</th>`).join('')}</tr></thead>
<tbody>
${lines.map((line) => `<tr><th scope="row">${escapeText(line.name)}${note(line.note)}</th>${cells(line)}</tr>`).join('\n')}
</tbody></table></div>`
  const settings = Object.entries(result.settings).map(
    ([name, value]) => `<dt>${escapeText(name)}</dt><dd>${value}</dd>`,
  )
  return [
    `<header><h1>${escapeText(result.title)}</h1><p class="soft">${escapeText(result.source)}; ${formatSeconds(result.seconds)}, seed ${result.seed}</p></header>`,
    section('Results', 'Measured here, beside what was published.', table),
    charts(result),
    samples(result),
    section(
      'How to make this again',
      '',
      `<dl class="facts"><dt>Command</dt><dd><code>${escapeText(command)}</code></dd>${settings.join('')}</dl>`,
    ),
  ]
}

/** What each model wrote, prompt by prompt. */
function samples({ rows }: ExperimentResult): string {
  const all = rows.flatMap(({ name, samples: own = [] }) => own.map((sample) => ({ name, ...sample })))
  const prompts = [...new Set(all.map(({ prompt }) => prompt))]
  if (prompts.length === 0) return ''
  const written = (prompt: string) =>
    all
      .filter((sample) => sample.prompt === prompt)
      .map(({ name, text }) => `<dt>${escapeText(name)}</dt><dd>${escapeText(text)}</dd>`)
      .join('')
  const parts = prompts.map((prompt) => `<h3>${escapeText(prompt)}</h3><dl class="facts">${written(prompt)}</dl>`)
  return section('What they write', 'Always the likeliest token after the prompt.', parts.join('\n'))
}

function charts({ rows }: ExperimentResult): string {
  const lines = rows.flatMap(({ name, lines: own = [] }) => own.map((line) => ({ name, line })))
  const titles = [...new Set(lines.map(({ line }) => line.chart))]
  if (titles.length === 0) return ''
  const names = [...new Set(lines.map(({ name }) => name))]
  const figures = titles.map((title) => {
    const own = lines.filter(({ line }) => line.chart === title)
    const { x, y } = own[0]!.line
    const series = own.map(({ name, line }) => ({ name, hue: names.indexOf(name) % hueCount, points: line.points }))
    return figure(title, lineChart({ label: `${title}: ${own.map(({ name }) => name).join(', ')}`, x, y, series }))
  })
  return section('Charts', '', wide(figures))
}
