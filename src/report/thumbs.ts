/** Small pictures to be seen beside many others: attention maps and clouds of points, a few kilobytes each. */

import { decimals } from './summary.ts'
import { escapeText, round, svg } from './svg.ts'

/** Shades of a small heat map: cells of one shade are one path. */
const shades = 20

/**
 * A heat map without names or numbers: rows of cells, darker for more.
 * @param options.max the value of full colour; colour goes with the root of value / max
 */
export function heatThumb(options: {
  readonly label: string
  readonly values: readonly (readonly number[])[]
  readonly max: number
}): string {
  const { values, max, label } = options
  const size = values.reduce((most, row) => Math.max(most, row.length), values.length)
  const paths = Array.from({ length: shades + 1 }, () => '')
  for (const [i, row] of values.entries()) {
    for (let j = 0; j < row.length; ) {
      const shade = shadeOf(row[j]!, max)
      const start = j
      while (j < row.length && shadeOf(row[j]!, max) === shade) j += 1
      if (shade > 0) paths[shade] += `M${start} ${i}h${j - start}v1h-${j - start}z`
    }
  }
  const drawn = paths.map((d, shade) => (d === '' ? '' : `<path fill-opacity="${round2(shade / shades)}" d="${d}"/>`))
  const frame = `<rect class="frame thin" x="0" y="0" width="${size}" height="${size}"/>`
  return svg(size, size, label, [frame, `<g class="cells">${drawn.join('')}</g>`], 12)
}

function shadeOf(value: number, max: number): number {
  if (!Number.isFinite(value) || !(max > 0)) return 0
  return Math.round(Math.sqrt(Math.min(1, Math.max(0, value / max))) * shades)
}

const round2 = (value: number) => Math.round(value * 100) / 100

/** Points of one colour. */
export interface Cloud {
  readonly hue: number
  readonly points: readonly (readonly [x: number, y: number])[]
}

const area = { width: 200, height: 130, left: 30, top: 8, bottom: 18 }

/**
 * Clouds of points in one small frame of given ranges, the first underneath; points outside are left out. Height goes
 * with the root of y, so that small values are seen.
 */
export function scatterThumb(options: {
  readonly label: string
  readonly clouds: readonly Cloud[]
  readonly x: readonly [from: number, to: number]
  readonly y: readonly [from: number, to: number]
}): string {
  const { label, clouds, x, y } = options
  const [right, bottom] = [area.width - 6, area.height - area.bottom]
  const share = (value: number, [from, to]: readonly [number, number]) => (value - from) / (to - from || 1)
  const inside = (value: number) => value >= 0 && value <= 1
  const marks = clouds.map(({ hue, points }) => {
    const dots = points.flatMap(([a, b]) => {
      const [across, up] = [share(a, x), Math.sqrt(share(b, y))]
      if (!inside(across) || !inside(up)) return []
      return [`M${round(area.left + across * (right - area.left))} ${round(bottom - up * (bottom - area.top))}h0`]
    })
    return `<path class="dots" style="stroke:var(--hue-${hue})" d="${dots.join('')}"/>`
  })
  const text = (value: number, place: string) =>
    `<text class="tick ${place}>${escapeText(decimals(value, Math.abs(value) < 0.1 ? 2 : 1))}</text>`
  return svg(area.width, area.height, label, [
    `<path class="grid" d="M${area.left} ${area.top}V${bottom}H${right}"/>`,
    ...marks,
    text(y[1], `end" x="${area.left - 4}" y="${area.top + 8}"`),
    text(y[0], `end" x="${area.left - 4}" y="${bottom}"`),
    text(x[0], `" x="${area.left}" y="${bottom + 13}"`),
    text(x[1], `end" x="${right}" y="${bottom + 13}"`),
  ])
}
