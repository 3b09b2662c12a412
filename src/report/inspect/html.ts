/** An inspection as one page of pictures that needs nothing else: no script, no font, no request. */

import { formatBytes, formatCount, formatSeconds } from '../../base/format.ts'
import { page, section } from '../markup.ts'
import { decimals } from '../summary.ts'
import { escapeText } from '../svg.ts'
import { barsSection, curvesSection, headsSection, lengthsSection, weightsSection } from './figures.ts'
import { featuresText, inspectHeadline, rankedMaps, stretchedNote, valuesOf } from './ranking.ts'
import type { InspectReport } from './types.ts'

/** The page of an inspection: well-formed as XML too, all texts escaped. */
export function inspectHtml(report: InspectReport): string {
  return page(`${report.name}: attention inspected`, inspectSections(report))
}

/** The same as pieces of markup, for a page that has its own head. */
export function inspectSections(report: InspectReport): string[] {
  return [
    header(report),
    barsSection(report),
    lengthsSection(report),
    weightsSection(report),
    curvesSection(report),
    headsSection(report),
    tableSection(report),
    factsSection(report),
  ]
}

function header(report: InspectReport): string {
  const { family, layers, heads, width, parameters } = report.model
  const sizes = `${family}, ${layers} layers of ${heads} heads, width ${width}, ${formatCount(parameters)} parameters`
  const hasKl = report.properties.some(({ name }) => name === 'kl')
  return `<header>
<h1>${escapeText(report.name)}: feature maps beside softmax</h1>
<p class="soft">${escapeText(sizes)}; ${report.maps.length - 1} maps on the same queries and keys</p>
${hasKl ? `<p class="headline">${escapeText(inspectHeadline(report))}</p>` : ''}
</header>`
}

function tableSection(report: InspectReport): string {
  const several = report.texts.length > 1
  const columns = report.texts.flatMap(({ name: text }) =>
    report.properties.map(({ name, title }) => ({ text, name, title: several ? `${title}, ${text}` : title })),
  )
  const head = ['Features', 'Learned', 'Distilled', ...columns.map(({ title }) => title)]
  const rows = rankedMaps(report).map((map) => {
    const values = columns.map(({ text, name }) => decimals(valuesOf(report, map.name, text)[name], 3))
    const distilled = map.distilledSteps > 0 ? `${map.distilledSteps} steps` : '–'
    const learned = map.parameters > 0 ? formatCount(map.parameters) : '–'
    const cells = [featuresText(map), learned, distilled, ...values].map((cell) => `<td>${escapeText(cell)}</td>`)
    const note = map.note ? `<span class="note">${escapeText(map.note)}</span>` : ''
    return `<tr><th scope="row">${escapeText(map.name)}${note}</th>${cells.join('')}</tr>`
  })
  const heading = head.map((title) => `<th scope="col">${escapeText(title)}</th>`).join('')
  const words = report.properties.map(({ title, summary, unit }) => `${title}: ${summary} (${unit})`).join('. ')
  return section(
    'All numbers',
    `${escapeText(words)}. Means over heads and queries, at ${report.mainLength} tokens. d is the dimension of a head.`,
    `<div class="scroll" role="region" aria-label="All numbers" tabindex="0"><table>
<thead><tr><th scope="col">Map</th>${heading}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table></div>`,
  )
}

function factsSection(report: InspectReport): string {
  const { distillation, texts, lengths } = report
  const facts: (readonly [string, string])[] = [
    ['Command', `<code>${escapeText(report.command)}</code>`],
    ['Text', escapeText(texts.map(({ name, tokens }) => `${formatCount(tokens)} tokens of ${name}`).join(', '))],
    ['Lengths', escapeText(lengths.map(({ length, stretched }) => `${length}${stretched ? '*' : ''}`).join(', '))],
  ]
  if (distillation) {
    const { steps, length, tokens } = distillation
    facts.push(['Distilled', `${steps} steps, ${length} tokens a sequence, on ${formatCount(tokens)} tokens`])
  }
  facts.push(
    ['Seed', String(report.seed)],
    ['Time', formatSeconds(report.seconds)],
    ['Peak memory', formatBytes(report.peakMemoryBytes)],
  )
  for (const [name, version] of Object.entries(report.versions)) facts.push([escapeText(name), escapeText(version)])
  const list = facts.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join('')
  return section('How to make this again', escapeText(stretchedNote(report)), `<dl class="facts">${list}</dl>`)
}
