/** An inspection as tables for a terminal of 80 columns. */

import { formatBytes, formatSeconds } from '../../base/format.ts'
import { decimals } from '../summary.ts'
import { longest } from '../svg.ts'
import { wrap } from '../terminal.ts'
import { featuresText, inspectHeadline, rankedMaps, shortText, stretchedNote, valuesOf } from './ranking.ts'
import type { InspectedMap, InspectReport } from './types.ts'

/** A column: what stands above it and its text for a map. */
interface Column {
  readonly title: string
  cell(map: InspectedMap): string
}

/** The properties of every map, KL over lengths, and the headline; no line is longer than `width`. */
export function inspectText(report: InspectReport, width = 80): string {
  const [first] = report.texts
  const others = report.properties.filter(({ name }) => name !== 'kl')
  const hasKl = others.length < report.properties.length
  const klColumns = hasKl ? report.texts.map(({ name }) => valueColumn(report, 'kl', name, report.mainLength)) : []
  const columns = [
    { title: 'features', cell: featuresText },
    ...klColumns.map((column, i) => ({ ...column, title: `KL ${shortText(report.texts[i]!.name)}` })),
    ...others.map(({ name, title }) => ({ ...valueColumn(report, name, first!.name, report.mainLength), title })),
  ]
  const parts = [
    ...wrap(`${report.mainLength} tokens; ${others.map(({ title }) => title).join(', ')} on ${first!.name}`, width),
    table(report, columns, width),
  ]
  if (hasKl && report.lengths.length > 1) {
    for (const { name } of report.texts) {
      const overLengths = report.lengths.map(({ length, stretched }) => ({
        ...valueColumn(report, 'kl', name, length),
        title: `${length}${stretched ? '*' : ''}`,
      }))
      parts.push('', ...wrap(`KL over the length of the text, on ${name}`, width), table(report, overLengths, width))
    }
  }
  const notes = report.maps.flatMap(({ name, note }) => (note ? [`${name}: ${note}`] : []))
  const cost = `${formatSeconds(report.seconds)}, ${formatBytes(report.peakMemoryBytes)} of memory, seed ${report.seed}`
  const below = [hasKl ? inspectHeadline(report) : '', stretchedNote(report), notes.join('; '), cost]
  return [...parts, '', ...below.filter((text) => text !== '').flatMap((text) => wrap(text, width))].join('\n')
}

function valueColumn(report: InspectReport, property: string, text: string, length: number): Column {
  return { title: property, cell: ({ name }) => decimals(valuesOf(report, name, text, length)[property], 3) }
}

/** As many columns as fit, right-aligned behind the names; what does not fit is counted. */
function table(report: InspectReport, columns: readonly Column[], width: number): string {
  const maps = rankedMaps(report)
  const nameWidth = Math.max(8, Math.min(24, longest(maps.map(({ name }) => name))))
  const cells = columns.map(({ title, cell }) => {
    const texts = [title, ...maps.map(cell)]
    const wide = longest(texts)
    return texts.map((text) => ` ${text.padStart(wide)}`)
  })
  let room = width - nameWidth
  const shown = cells.filter(([title]) => {
    room -= title!.length
    return room >= 0
  })
  const names = ['', ...maps.map(({ name }) => name)]
  const [head, ...rows] = names.map((name, i) => {
    const line = [name.slice(0, nameWidth).padEnd(nameWidth), ...shown.map((texts) => texts[i]!)]
    return line.join('').trimEnd()
  })
  const left = columns.length - shown.length
  const note = left > 0 ? [`(${left} more columns, for a wider terminal or --json)`] : []
  return [head, '─'.repeat(Math.min(width, head!.length)), ...rows, ...note].join('\n')
}
