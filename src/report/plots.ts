/** Charts with axes as inline SVG: lines, scatter and bars, in colours that the page's styles name. */

import { decimals } from './summary.ts'
import { escapeText, longest, round, svg, ticksOf, tickText } from './svg.ts'

/** A named run of points in one colour; a dashed one belongs to the line before it and is not named again; `hue` is the number of a colour of the page, `--hue-0` and so on. */
export interface Series {
  readonly name: string
  readonly hue: number
  readonly points: readonly (readonly [x: number, y: number])[]
  readonly dashed?: boolean
  /** Drawn thick. */
  readonly strong?: boolean
}

/** What {@link lineChart} and {@link scatterChart} draw. */
export interface PlotOptions {
  /** What the chart shows, read out by screen readers. */
  readonly label: string
  readonly x: string
  readonly y: string
  readonly series: readonly Series[]
  /** Ticks of the x axis; default: round ones. */
  readonly xTicks?: readonly { readonly at: number; readonly text: string }[]
  /** The x axis goes with log x. Give {@link PlotOptions.xTicks} with it. */
  readonly logX?: boolean
  /** Height of the chart, for many names at the ends of lines; default 260. */
  readonly height?: number
}

const plot = { width: 440, height: 260, left: 46, top: 24, bottom: 38 }
const mostPoints = 120
const lineHeight = 14

/** Lines with their names at their ends; every point tells its value on hover. */
export function lineChart(options: PlotOptions): string {
  const series = options.series.map((one) => ({ ...one, points: thinned(finitePoints(one.points)) }))
  return plotChart({ ...options, series }, (one, place) => {
    const path = one.points.map((point) => place(point).map(round).join(' ')).join('L')
    const dashes = one.dashed ? ' stroke-dasharray="5 3"' : ''
    const line = `<path class="line${one.strong ? ' strong' : ''}" style="stroke:var(--hue-${one.hue})"${dashes} d="M${path}"/>`
    return line + points(one, place, options, 'hit', 4)
  })
}

/** Points without lines, every one telling its value on hover. */
export function scatterChart(options: PlotOptions): string {
  const series = options.series.map((one) => ({ ...one, points: everyNth(finitePoints(one.points), 200) }))
  return plotChart({ ...options, series }, (one, place) => points(one, place, options, 'dot', 2.4))
}

type Place = (point: readonly [number, number]) => [number, number]

function plotChart(options: PlotOptions, draw: (series: Series, place: Place) => string): string {
  const series = options.series.filter(({ points }) => points.length > 0)
  const all = series.flatMap(({ points }) => points)
  const across = options.logX ? Math.log2 : (x: number) => x
  const xs = ticksOf(
    all.map(([x]) => across(x)),
    'data',
  )
  const ys = ticksOf(all.map(([, y]) => y))
  const names = series.filter(({ dashed }) => !dashed).map(({ name }) => name)
  const right = plot.width - 14 - Math.min(160, 7.4 * longest(names))
  const height = options.height ?? plot.height
  const bottom = height - plot.bottom
  const place: Place = ([x, y]) => [
    plot.left + xs.share(across(x)) * (right - plot.left),
    bottom - ys.share(y) * (bottom - plot.top),
  ]
  const yAxis = ys.ticks.map((tick) => {
    const at = round(bottom - ys.share(tick) * (bottom - plot.top))
    return `<path class="grid" d="M${plot.left} ${at}H${round(right)}"/><text class="tick end" x="${plot.left - 6}" y="${at + 4}">${tickText(tick, ys.step)}</text>`
  })
  const xTicks = options.xTicks ?? xs.ticks.map((at) => ({ at, text: tickText(at, xs.step) }))
  const xAxis = xTicks.map(({ at, text }) => {
    const x = round(place([at, ys.from])[0])
    return `<text class="tick middle" x="${x}" y="${bottom + 16}">${escapeText(text)}</text>`
  })
  // The first series is drawn last, so that it lies on top.
  const marks = series.map((one) => draw(one, place)).reverse()
  return svg(plot.width, height, options.label, [
    ...yAxis,
    ...xAxis,
    `<text class="axis" x="${plot.left}" y="12">${escapeText(options.y)}</text>`,
    `<text class="axis end" x="${round(right)}" y="${bottom + 33}">${escapeText(options.x)}</text>`,
    ...marks,
    ...endLabels(series, place, right, bottom),
  ])
}

/** A circle at each point, which tells its value on hover. */
function points(series: Series, place: Place, { x, y }: PlotOptions, kind: 'dot' | 'hit', radius: number): string {
  const circles = series.points.map((point) => {
    const [cx, cy] = place(point)
    const title = `${series.name}: ${x} ${valueText(point[0])}, ${y} ${valueText(point[1])}`
    return `<circle cx="${round(cx)}" cy="${round(cy)}" r="${radius}"><title>${escapeText(title)}</title></circle>`
  })
  return `<g class="${kind}" style="fill:var(--hue-${series.hue})">${circles.join('')}</g>`
}

/** Names at the right, each as near to its line's end as the others let it be. */
function endLabels(series: readonly Series[], place: Place, right: number, bottom: number): string[] {
  const named = series.filter(({ dashed }) => !dashed)
  const wanted = named.map((one) => ({ one, y: place(lastByX(one.points))[1] })).sort((a, b) => a.y - b.y)
  const lowest = bottom - (wanted.length - 1) * lineHeight
  let next = -Infinity
  return wanted.map(({ one, y }, i) => {
    next = Math.max(next + lineHeight, Math.min(y + 4, lowest + i * lineHeight))
    return `<text class="name" style="fill:var(--hue-${one.hue})" x="${round(right + 8)}" y="${round(next)}">${escapeText(one.name)}</text>`
  })
}

/** What {@link groupedBars} draws: for each group one bar of each series. */
export interface BarsOptions {
  readonly label: string
  readonly x: string
  readonly y: string
  readonly groups: readonly string[]
  readonly series: readonly {
    readonly name: string
    readonly hue: number
    readonly values: readonly (number | undefined)[]
  }[]
}

/** Upright bars side by side, from 0; the names of the series stand above in their colours. */
export function groupedBars({ label, x: groupName, y, groups, series }: BarsOptions): string {
  const scale = ticksOf([0, ...series.flatMap(({ values }) => values.filter((v) => v !== undefined))])
  const [left, right, top] = [plot.left, plot.width - 8, 44]
  const bottom = plot.height - plot.bottom
  const groupWidth = (right - left) / Math.max(1, groups.length)
  const barWidth = Math.min(22, (groupWidth * 0.8) / Math.max(1, series.length))
  const height = (value: number) => scale.share(value) * (bottom - top)
  const axis = scale.ticks.map((tick) => {
    const at = round(bottom - height(tick))
    return `<path class="grid" d="M${left} ${at}H${round(right)}"/><text class="tick end" x="${left - 6}" y="${at + 4}">${tickText(tick, scale.step)}</text>`
  })
  const names = groups.map(
    (name, g) =>
      `<text class="tick middle" x="${round(left + (g + 0.5) * groupWidth)}" y="${bottom + 16}">${escapeText(name)}</text>`,
  )
  const bars = series.flatMap(({ name, hue, values }, s) =>
    groups.map((group, g) => {
      const value = values[g]
      if (value === undefined || !Number.isFinite(value)) return ''
      const x = left + (g + 0.5) * groupWidth + (s - series.length / 2) * barWidth
      const tall = Math.max(0, height(value))
      return `<rect class="bar" style="fill:var(--hue-${hue})" x="${round(x)}" y="${round(bottom - tall)}" width="${round(barWidth - 1)}" height="${round(tall)}"><title>${escapeText(`${name}, ${groupName} ${group}: ${decimals(value, 3)}`)}</title></rect>`
    }),
  )
  let at = left
  const legend = series.map(({ name, hue }) => {
    const text = `<text class="name" style="fill:var(--hue-${hue})" x="${at}" y="30">${escapeText(name)}</text>`
    at += 14 + 8 * name.length
    return text
  })
  const titles = [
    `<text class="axis" x="${left}" y="12">${escapeText(y)}</text>`,
    `<text class="axis end" x="${round(right)}" y="${bottom + 33}">${escapeText(groupName)}</text>`,
  ]
  return svg(plot.width, plot.height, label, [...titles, ...axis, ...names, ...bars, ...legend])
}

function valueText(value: number): string {
  return Number.isInteger(value) ? String(value) : decimals(value, 3)
}

function finitePoints(points: Series['points']): Series['points'] {
  return points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
}

/** At most 120 points, each the mean of its neighbours, so that a noisy loss stays readable; the last stays itself. */
function thinned(points: Series['points']): Series['points'] {
  if (points.length <= mostPoints) return points
  const size = Math.ceil(points.length / mostPoints)
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const some = points.slice(i * size, (i + 1) * size)
    return [some[some.length - 1]![0], mean(some.map(([, y]) => y))]
  })
}

function everyNth(points: Series['points'], most: number): Series['points'] {
  const step = Math.ceil(points.length / most)
  return step <= 1 ? points : points.filter((_, i) => i % step === 0)
}

function lastByX(points: Series['points']): readonly [number, number] {
  return points.reduce((last, point) => (point[0] >= last[0] ? point : last))
}
