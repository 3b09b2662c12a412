/** The sections of an inspection that are pictures; each is empty where the report has nothing to draw. */

import { levelBars } from '../bars.ts'
import { heatMap } from '../heatmap.ts'
import { figure, key, section, wide } from '../markup.ts'
import { lineChart, type Series } from '../plots.ts'
import { decimals } from '../summary.ts'
import { escapeText } from '../svg.ts'
import { type Cloud, heatThumb, scatterThumb } from '../thumbs.ts'
import { rankedMaps, softmaxName, stretchedNote, valuesOf } from './ranking.ts'
import type { InspectProperty, InspectReport, ShownHead } from './types.ts'

/** Maps of one kind share a colour; their names stand beside them. */
const hues: readonly (readonly [begins: RegExp, hue: number])[] = [
  [/^softmax$/, 0],
  [/^(hedgehog-exp|converted)/, 1],
  [/^(elu|relu|exp-)/, 2],
  [/^(t2r|rebased)/, 3],
  [/^hedgehog/, 5],
  [/^performer/, 6],
  [/^cosformer/, 7],
]
const otherHue = 4

function hueOf(map: string): number {
  return hues.find(([begins]) => begins.test(map))?.[1] ?? otherHue
}

/** The map that the page makes stand out: the nearest to softmax. */
function bestOf(report: InspectReport): string | undefined {
  return rankedMaps(report).find(({ name }) => name !== softmaxName)?.name
}

/** Every property as bars, a bar for each text. */
export function barsSection(report: InspectReport): string {
  const [first, ...others] = report.texts.map(({ name }) => name)
  const words = others.length > 0 ? `Full bars: ${first}; the paler ones: ${others.join(', ')}. ` : ''
  const charts = report.properties.map((property) => figure(captionOf(property), propertyBars(report, property)))
  return section(
    'Every map at a glance',
    escapeText(
      `${words}Maps in the order of their KL, ${report.mainLength} tokens, means over all heads; softmax is what they imitate.`,
    ),
    wide(charts),
  )
}

function captionOf({ title, best }: InspectProperty): string {
  const want = { low: 'low is good', high: 'high is good', softmax: 'as softmax has it is good' }
  return `${title.charAt(0).toUpperCase()}${title.slice(1)}: ${want[best]}`
}

function propertyBars(report: InspectReport, { name, unit, best }: InspectProperty): string {
  const found = (map: string, text: string) => valuesOf(report, map, text)[name]
  const first = report.texts[0]!.name
  const maps = rankedMaps(report).filter((map) => map.name !== softmaxName)
  const bars = maps.map((map) => ({
    name: map.name,
    hue: hueOf(map.name),
    values: report.texts.map(({ name: text }) => ({ of: text, value: found(map.name, text) })),
  }))
  const softmax = found(softmaxName, first)
  return levelBars({
    label: `${name} of each map: ${bars.map((bar) => `${bar.name} ${decimals(bar.values[0]?.value, 2)}`).join(', ')}`,
    x: unit,
    bars,
    ...(best === 'softmax' && Number.isFinite(softmax) && { reference: { name: softmaxName, value: softmax! } }),
    ...outliers(bars.flatMap(({ values }) => values.map(({ value }) => value ?? 0))),
  })
}

/** Where bars end when a few are several times as long as most: at twice the upper quartile. */
function outliers(values: readonly number[]): { most?: number } {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  const limit = 2 * (sorted[Math.floor(sorted.length * 0.75)] ?? 0)
  return limit > 0 && (sorted.at(-1) ?? 0) > 1.5 * limit ? { most: limit } : {}
}

/** Attention of softmax and of every map over one short text, head by head. */
export function weightsSection(report: InspectReport): string {
  if (report.shown.length === 0) return ''
  const words = `Each row is a query, each column a key; one scale for all. Colour goes with the root of the weight: ${key('1')}`
  const best = bestOf(report)
  return section(
    'What each map attends to',
    words,
    report.shown.map((head) => headThumbs(report, head, best)).join('\n'),
  )
}

function headThumbs(report: InspectReport, { layer, head, tokens, maps }: ShownHead, best?: string): string {
  const order = rankedMaps(report).map(({ name }) => name)
  const sorted = [...maps].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
  const figures = sorted.map(({ name, weights }) => {
    const label = `Attention weights of ${name} in layer ${layer}, head ${head}, over ${tokens.length} tokens`
    return figure(name, heatThumb({ label, values: weights, max: 1 }), name === best)
  })
  return `<h3>Layer ${layer}, head ${head}</h3>
<div class="thumbs">${figures.join('')}</div>
<p class="soft"><small>${escapeText(tokens.join(''))}</small></p>`
}

/** Weight against q·k for the last query of the text, softmax underneath. */
export function curvesSection(report: InspectReport): string {
  const order = rankedMaps(report).map(({ name }) => name)
  const best = bestOf(report)
  const parts = report.curves.map(({ layer, head, series }) => {
    const softmax = series.find(({ name }) => name === softmaxName)?.points ?? []
    const most = Math.max(...softmax.map(([, weight]) => weight), 1e-3)
    const across = softmax.map(([score]) => score)
    const x = [Math.min(...across), Math.max(...across)] as const
    const maps = series.filter(({ name }) => name !== softmaxName)
    const sorted = [...maps].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
    const figures = sorted.map(({ name, points }) => {
      const clouds: Cloud[] = [
        { hue: 0, points: softmax },
        { hue: hueOf(name), points },
      ]
      const label = `Weight against q·k of ${name} in layer ${layer}, head ${head}, softmax in grey`
      return figure(name, scatterThumb({ label, clouds, x, y: [0, most] }), name === best)
    })
    return `<h3>Layer ${layer}, head ${head}</h3>\n<div class="thumbs broad">${figures.join('')}</div>`
  })
  return parts.length === 0
    ? ''
    : section(
        'Weight against q·k',
        'A dot for each key that the last query sees: q·k/√d across, the root of its weight upward; softmax in grey under each map. Softmax rises steadily and steeply; a good map lies on it.',
        parts.join('\n'),
      )
}

/** KL as a layer × head grid for every map, on the first text. */
export function headsSection(report: InspectReport): string {
  const maps = rankedMaps(report).filter(({ name }) => name !== softmaxName)
  const text = report.texts[0]!.name
  const ofText = report.heads.filter((one) => one.text === text && one.values.kl !== undefined)
  if (ofText.length === 0) return ''
  const best = bestOf(report)
  const sorted = ofText
    .filter(({ map }) => map !== softmaxName)
    .map(({ values }) => values.kl!)
    .sort((a, b) => a - b)
  // A map that fails in a few heads would else make all others pale.
  const max = Math.max(1e-3, sorted[Math.floor(sorted.length * 0.9)] ?? 0)
  const grids = maps.map(({ name }) => {
    const values = Array.from({ length: report.model.layers }, (_, layer) =>
      Array.from({ length: report.model.heads }, (_, head) => {
        return ofText.find((one) => one.map === name && one.layer === layer && one.head === head)?.values.kl
      }),
    )
    return figure(
      name,
      heatMap({
        label: `KL from softmax to ${name} per head, layers from top to bottom`,
        values,
        max,
        written: report.model.heads <= 8,
        rowNames: values.map((_, i) => `layer ${i}`),
        columnNames: (values[0] ?? []).map((_, j) => String(j)),
        cellName: (i, j) => `${name}, layer ${i}, head ${j}, KL`,
      }),
      name === best,
    )
  })
  return section(
    'KL head by head',
    `In nats on ${escapeText(text)}, a column for each head, one scale for all: ${key(`${decimals(max, 2)} and more`)}`,
    `<div class="thumbs broad">${grids.join('')}</div>`,
  )
}

/** KL over the length of the text as lines, a chart for each text. */
export function lengthsSection(report: InspectReport): string {
  if (report.lengths.length < 2 || !report.properties.some(({ name }) => name === 'kl')) return ''
  const maps = rankedMaps(report).filter(({ name }) => name !== softmaxName)
  const best = bestOf(report)
  const charts = report.texts.map(({ name: text }) => {
    const klAt = (map: string, length: number) => valuesOf(report, map, text, length).kl
    const limit = outliers(maps.flatMap(({ name }) => report.lengths.map(({ length }) => klAt(name, length) ?? 0)))
    const series = maps.map(({ name }): Series => {
      const points = report.lengths.flatMap(({ length }) => {
        const value = klAt(name, length)
        return value === undefined || value > (limit.most ?? Infinity) ? [] : [[length, value] as const]
      })
      return { name, hue: hueOf(name), points, strong: name === best }
    })
    const left = series.filter(({ points }) => points.length === 0).map(({ name }) => name)
    const label = `KL over the length of the text on ${text}, for ${maps.map(({ name }) => name).join(', ')}`
    const above = left.length > 0 ? `; above the chart: ${left.join(', ')}` : ''
    const xTicks = report.lengths.map(({ length, stretched }) => ({
      at: length,
      text: `${length}${stretched ? '*' : ''}`,
    }))
    const chart = lineChart({ label, x: 'tokens', y: 'KL (nats)', series, xTicks, logX: true, height: 340 })
    return figure(`${text}${above}`, chart)
  })
  return section(
    'KL over the length of the text',
    escapeText(stretchedNote(report) || 'Every length was read with the positions that the model was trained with.'),
    wide(charts),
  )
}
