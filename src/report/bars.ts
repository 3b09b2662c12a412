/** Level bars in the order they are given, for comparing many names: a value each, or one for each of several texts. */

import { decimals } from './summary.ts'
import { escapeText, longest, round, svg, ticksOf, tickText } from './svg.ts'

/** What {@link levelBars} draws. */
export interface LevelBarsOptions {
  readonly label: string
  /** What the values are, at the axis. */
  readonly x: string
  readonly bars: readonly LevelBar[]
  /** A value that all are compared with, drawn as a line. */
  readonly reference?: { readonly name: string; readonly value: number }
  /** The value at the right end; bars of larger ones are cut off there, as their numbers tell. */
  readonly most?: number
}

/** One name with its values: the first in full colour, further ones fainter. */
export interface LevelBar {
  readonly name: string
  readonly hue: number
  readonly values: readonly { readonly of: string; readonly value: number | undefined }[]
}

const width = 440
const barHeight = 11

/** Level bars from 0, each with its number behind it. */
export function levelBars({ label, x, bars, reference, most }: LevelBarsOptions): string {
  const left = 8 + 6.6 * longest(bars.map(({ name }) => name))
  const right = width - 44
  const finite = bars.flatMap(({ values }) => values.map(({ value }) => value)).filter((v) => Number.isFinite(v))
  const scale = ticksOf([0, ...(finite as number[]).map((v) => Math.min(v, most ?? v)), reference?.value ?? 0])
  const place = (value: number) => left + Math.min(1, Math.max(0, scale.share(value))) * (right - left)
  const zero = place(0)
  const rowHeight = 8 + barHeight * Math.max(1, ...bars.map(({ values }) => values.length))
  const top = reference ? 18 : 6
  const bottom = top + bars.length * rowHeight
  const rows = bars.map(({ name, hue, values }, i) => {
    const y = top + i * rowHeight + 4
    const drawn = values.map(({ of, value }, j) => {
      if (value === undefined || !Number.isFinite(value)) return ''
      const end = place(value)
      const title = escapeText(`${name}, ${of}: ${decimals(value, 4)}`)
      const at = round(y + j * barHeight)
      const number = `<text class="tick" x="${round(Math.max(zero, end) + 5)}" y="${at + barHeight - 2}">${decimals(value, 2)}</text>`
      return `<rect class="bar" style="fill:var(--hue-${hue});fill-opacity:${j === 0 ? 1 : 0.45}" x="${round(Math.min(zero, end))}" y="${at}" width="${round(Math.max(1, Math.abs(end - zero)))}" height="${barHeight - 1}"><title>${title}</title></rect>${number}`
    })
    const middle = y + (values.length * barHeight) / 2 + 3
    return `<text class="tick end" x="${round(left - 6)}" y="${round(middle)}">${escapeText(name)}</text>${drawn.join('')}`
  })
  const axis = scale.ticks.map((tick) => {
    const at = round(place(tick))
    return `<path class="grid" d="M${at} ${top}V${bottom}"/><text class="tick middle" x="${at}" y="${bottom + 14}">${tickText(tick, scale.step)}</text>`
  })
  const mark = reference
    ? [
        `<path class="mark" d="M${round(place(reference.value))} ${top - 4}V${bottom}"/>`,
        `<text class="tick middle" x="${round(place(reference.value))}" y="${top - 7}">${escapeText(reference.name)}</text>`,
      ]
    : []
  const title = `<text class="axis end" x="${right}" y="${bottom + 29}">${escapeText(x)}</text>`
  return svg(width, bottom + 34, label, [...axis, ...rows, ...mark, title])
}
