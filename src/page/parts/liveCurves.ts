/** Curves that grow while a job runs, a chart for each phase, drawn as reports draw theirs. */

import { capital } from '../../base/format.ts'
import { lineChart, type Series } from '../../report/plots.ts'
import { draw, h } from '../dom.ts'

/** A point of a curve; a held-out value only where one was measured. */
export interface LivePoint {
  readonly step: number
  readonly value?: number
  readonly heldOut?: number
}

/** Charts of curves that are added to. */
export interface LiveCurves {
  readonly element: HTMLElement
  /** Adds points to the curve of a name in the chart of a phase. */
  add(phase: string, name: string, points: readonly LivePoint[]): void
  clear(): void
}

/** The least milliseconds between two drawings of a chart: one takes a few. */
const redrawAfter = 400

/** @param y what is drawn, with its unit. */
export function liveCurves(y: string): LiveCurves {
  const element = h('div', { class: 'wide' })
  const charts = new Map<string, { readonly place: HTMLElement; readonly curves: Map<string, LivePoint[]> }>()
  const waiting = new Set<string>()
  let timer: ReturnType<typeof setTimeout> | undefined

  const paint = () => {
    timer = undefined
    for (const phase of waiting) {
      const { place, curves } = charts.get(phase)!
      draw(place, chart(phase, y, curves))
    }
    waiting.clear()
  }
  return {
    element,
    add(phase, name, points) {
      let found = charts.get(phase)
      if (!found) {
        found = { place: h('div'), curves: new Map() }
        charts.set(phase, found)
        element.append(h('figure', {}, h('figcaption', {}, capital(phase)), found.place))
      }
      const curve = found.curves.get(name) ?? []
      curve.push(...points)
      found.curves.set(name, curve)
      waiting.add(phase)
      if (timer === undefined) timer = setTimeout(paint, redrawAfter)
    },
    clear() {
      charts.clear()
      waiting.clear()
      element.replaceChildren()
    },
  }
}

function chart(phase: string, y: string, curves: ReadonlyMap<string, readonly LivePoint[]>): string {
  const series = [...curves].flatMap(([name, points], i): Series[] => {
    const of = (pick: (point: LivePoint) => number | undefined) =>
      points.flatMap((point) => {
        const value = pick(point)
        return value === undefined ? [] : [[point.step, value] as const]
      })
    const shown = of(({ value }) => value)
    const held = of(({ heldOut }) => heldOut)
    return [
      { name, hue: i + 1, points: shown },
      { name: `${name}, held out`, hue: i + 1, points: held, dashed: shown.length > 0 },
    ]
  })
  return lineChart({ label: `${y} in the phase ${phase} over its steps`, x: 'step', y, series })
}
