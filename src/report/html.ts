/** A report as one page of HTML that needs nothing else: no script, no font, no request. */

import { capital, formatBytes, formatCount, formatSeconds } from '../base/format.ts'
import { curvesSection, headsSection, mapsSection, weightsSection } from './figures.ts'
import { page, section } from './markup.ts'
import { decimals, gap, gapClosed, headline, percent, studentOf, teacherOf } from './summary.ts'
import { escapeText } from './svg.ts'
import type { Report, Row } from './types.ts'

/** The page of a report: well-formed as XML too, all texts escaped. */
export function reportHtml(report: Report): string {
  return page(`${report.name}: conversion report`, reportSections(report))
}

/** The same as pieces of markup, for a page that has its own head. */
export function reportSections(report: Report): string[] {
  return [
    header(report),
    rowsSection(report),
    curvesSection(report),
    mapsSection(report.maps),
    headsSection(report),
    weightsSection(report),
    factsSection(report),
  ]
}

function header(report: Report): string {
  const { family, layers, heads, width, parameters } = report.model
  const sizes = `${family}, ${layers} layers of ${heads} heads, width ${width}, ${formatCount(parameters)} parameters`
  const memory = report.peakMemoryBytes === undefined ? '' : `, ${formatBytes(report.peakMemoryBytes)} of memory`
  const tiles = [
    [
      teacherOf(report)?.name === 'teacher' ? 'Teacher' : 'Teacher, finetuned',
      decimals(teacherOf(report)?.perplexity, 2),
    ],
    [capital(report.converted ?? 'hedgehog'), decimals(studentOf(report)?.perplexity, 2)],
    ['Gap to the teacher', percent(gap(report))],
    ['Gap closed from untrained', percent(gapClosed(report))],
  ] as const
  const tile = ([name, value]: readonly [string, string]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`
  return `<header>
<h1>${escapeText(report.name)}, converted to linear attention</h1>
<p class="soft">${escapeText(sizes)}; ${formatSeconds(report.seconds)}${memory}</p>
<p class="headline">${escapeText(headline(report))}</p>
<dl class="tiles">${tiles.map(tile).join('')}</dl>
</header>`
}

const columns: readonly { readonly title: string; cell(row: Row): string }[] = [
  { title: 'Perplexity', cell: (row) => decimals(row.perplexity, 2) },
  { title: 'Loss', cell: (row) => decimals(row.loss, 3) },
  { title: 'KL', cell: (row) => decimals(row.kl, 3) },
  { title: 'Entropy', cell: (row) => decimals(row.entropy, 2) },
  { title: 'Monotone', cell: (row) => decimals(row.monotonicity, 2) },
  { title: 'Time', cell: (row) => formatSeconds(row.seconds) },
]

function rowsSection({ rows, converted = 'hedgehog' }: Report): string {
  const head = columns.map(({ title }) => `<th scope="col">${title}</th>`).join('')
  const line = (row: Row) => {
    const note = row.note ? `<span class="note">${escapeText(row.note)}</span>` : ''
    const cells = columns.map(({ cell }) => `<td>${cell(row)}</td>`).join('')
    const chosen = row.name === converted ? ' class="chosen"' : ''
    return `<tr${chosen}><th scope="row">${escapeText(row.name)}${note}</th>${cells}</tr>`
  }
  return section(
    'Scores on the test text',
    `KL is the divergence of the student’s attention weights from the teacher’s, entropy that of the attention weights
(low is spiky), both in nats and as means over heads. Monotone tells how steadily a weight rises with q·k: 1 is always.`,
    `<div class="scroll" role="region" aria-label="Scores" tabindex="0"><table>
<thead><tr><th scope="col">Model</th>${head}</tr></thead>
<tbody>
${rows.map(line).join('\n')}
</tbody></table></div>`,
  )
}

function factsSection(report: Report): string {
  const { trainTokens, validationTokens, testTokens, length } = report.data
  const count = (tokens: number) => `${formatCount(tokens)}`
  const facts: readonly (readonly [string, string])[] = [
    ['Command', `<code>${escapeText(report.command)}</code>`],
    [
      'Text',
      `${count(trainTokens)} tokens to train, ${count(validationTokens)} to validate, ${count(testTokens)} to test`,
    ],
    ['Sequences', `${length} tokens`],
    ['Seed', String(report.seed)],
    ['Time', formatSeconds(report.seconds)],
    ['Peak memory', formatBytes(report.peakMemoryBytes ?? Number.NaN)],
    ...Object.entries(report.versions).map(([name, version]) => [escapeText(name), escapeText(version)] as const),
  ]
  const list = facts.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join('')
  return section('How to make this again', '', `<dl class="facts">${list}</dl>`)
}
