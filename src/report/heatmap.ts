/** Heat maps as inline SVG: a grid of cells in one hue, darker for more. */

import { decimals } from './summary.ts'
import { escapeText, longest, svg } from './svg.ts'

/** What {@link heatMap} draws. */
export interface HeatMapOptions {
  readonly label: string
  /** [row][column]; undefined or missing cells stay empty. */
  readonly values: readonly (readonly (number | undefined)[])[]
  /** The value of full colour. */
  readonly max: number
  readonly rowNames?: readonly string[]
  readonly columnNames?: readonly string[]
  /** Writes the value into each cell. */
  readonly written?: boolean
  /** Colours √(value / max), so that small weights are seen. */
  readonly root?: boolean
  /** What a cell tells on hover, before its value. */
  cellName(row: number, column: number): string
}

/** A grid of cells in one hue, darker for more. */
export function heatMap(options: HeatMapOptions): string {
  const { values, rowNames, columnNames, written = false } = options
  const columns = values.reduce((most, row) => Math.max(most, row.length), 0)
  const size = written ? { x: 34, y: 22 } : rowNames ? { x: 14, y: 14 } : { x: 8, y: 8 }
  const origin = {
    x: rowNames ? 8 + 6 * longest(rowNames) : 0,
    y: columnNames ? (written ? 18 : 8 + 6 * longest(columnNames)) : 0,
  }
  const area = { x: columns * size.x, y: values.length * size.y }
  const at = (row: number, column: number) => ({ x: origin.x + column * size.x, y: origin.y + row * size.y })
  const cells = values.flatMap((row, i) => row.map((value, j) => cell(options, value, [i, j], at(i, j), size)))
  const parts = [
    `<rect class="frame" x="${origin.x}" y="${origin.y}" width="${area.x}" height="${area.y}"/>`,
    `<g class="cells">${cells.join('')}</g>`,
    ...(written ? values.flatMap((row, i) => row.map((value, j) => number(options, value, at(i, j), size))) : []),
    ...(rowNames ?? []).map((name, i) => rowName(name, at(i, 0), size)),
    ...(columnNames ?? []).map((name, j) => columnName(name, at(0, j), size, written)),
  ]
  return svg(origin.x + area.x + 1, origin.y + area.y + 1, options.label, parts)
}

interface Pair {
  readonly x: number
  readonly y: number
}

function cell(
  options: HeatMapOptions,
  value: number | undefined,
  [i, j]: readonly [number, number],
  { x, y }: Pair,
  size: Pair,
): string {
  const shade = shadeOf(options, value)
  if (value === undefined || shade === undefined) return ''
  const title = escapeText(`${options.cellName(i, j)}: ${decimals(value, 3)}`)
  return `<path d="M${x} ${y}h${size.x}v${size.y}h-${size.x}z" fill-opacity="${shade}"><title>${title}</title></path>`
}

function number(options: HeatMapOptions, value: number | undefined, { x, y }: Pair, size: Pair): string {
  const shade = shadeOf(options, value)
  if (shade === undefined) return ''
  const ink = shade > 0.55 ? ' inverse' : ''
  return `<text class="value middle${ink}" x="${x + size.x / 2}" y="${y + size.y / 2 + 4}">${decimals(value, 2)}</text>`
}

function rowName(name: string, { x, y }: Pair, size: Pair): string {
  return `<text class="tick end" x="${x - 5}" y="${y + size.y / 2 + 4}">${escapeText(name)}</text>`
}

function columnName(name: string, { x, y }: Pair, size: Pair, level: boolean): string {
  const middle = x + size.x / 2
  if (level) return `<text class="tick middle" x="${middle}" y="${y - 5}">${escapeText(name)}</text>`
  return `<text class="tick" transform="translate(${middle + 4} ${y - 5}) rotate(-90)">${escapeText(name)}</text>`
}

/** How much of the hue a value gets, from 0 to 1 in hundredths; undefined where there is no value. */
function shadeOf({ max, root = false }: HeatMapOptions, value: number | undefined): number | undefined {
  if (value === undefined || value === null || !Number.isFinite(value)) return undefined
  const share = max > 0 ? Math.min(1, Math.max(0, value / max)) : 0
  return Math.round((root ? Math.sqrt(share) : share) * 100) / 100
}
