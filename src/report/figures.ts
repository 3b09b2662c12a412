/** The sections of a report that are charts; each is empty where the report has nothing to draw. */

import { capital } from '../base/format.ts'
import { heatMap } from './heatmap.ts'
import { figure, key, section, wide } from './markup.ts'
import type { Series } from './plots.ts'
import { groupedBars, lineChart, scatterChart } from './plots.ts'
import { hueCount } from './styles.ts'
import { decimals } from './summary.ts'
import { escapeText } from './svg.ts'
import type { AttentionMap, HeadScore, Report } from './types.ts'

/** Most tokens of an attention map that are drawn, from the start of the text. */
const mostTokens = 48
/** Up to this many tokens, they are written at the sides of the map. */
const mostNamedTokens = 20

/** Loss over steps, a chart for each phase. */
export function curvesSection(report: Report): string {
  const phases = [...new Set(report.curves.map(({ phase }) => phase))]
  const hue = hues(report)
  const charts = phases.map((phase) => {
    const curves = report.curves.filter((curve) => curve.phase === phase)
    const series = curves.flatMap(({ name, points }): Series[] => {
      const held = points.flatMap(({ step, validationLoss }) =>
        validationLoss === undefined ? [] : [[step, validationLoss] as const],
      )
      const training = points.map(({ step, loss }) => [step, loss] as const)
      return [
        { name, hue: hue(name), points: training },
        { name: `${name}, held out`, hue: hue(name), points: held, dashed: true },
      ]
    })
    const label = `Loss in the phase ${phase} over its steps, for ${curves.map(({ name }) => name).join(', ')}`
    return figure(capital(phase), lineChart({ label, x: 'step', y: 'loss (nats)', series }))
  })
  return charts.length === 0
    ? ''
    : section('Loss curves', 'Training loss as a line, loss on held-out text dashed.', wide(charts))
}

/** Attention weights of teacher and student side by side, for the heads of the report. */
export function mapsSection(maps: readonly AttentionMap[]): string {
  if (maps.length === 0) return ''
  const words = `Each row is a query, each column a key before it; each row sums to 1. Colour goes with the root of the
weight: ${key('1')}`
  return section('Attention of teacher and student', words, maps.map(mapFigures).join('\n'))
}

function mapFigures({ layer, head, tokens, teacher, student, untrained }: AttentionMap): string {
  const shown = tokens.slice(0, mostTokens)
  const words = shown.map(visible)
  const labels = shown.map((token) => visible(token.trim() === '' ? token : token.trim()))
  const of = (who: string, weights: readonly (readonly number[])[]) => {
    const values = weights.slice(0, shown.length).map((row, i) => row.slice(0, Math.min(i + 1, shown.length)))
    const cellName = (i: number, j: number) => `${words[i] ?? ''} → ${words[j] ?? ''}`
    const label = `Attention weights of the ${who} in layer ${layer}, head ${head}, over ${shown.length} tokens`
    const names = words.length <= mostNamedTokens ? { rowNames: labels, columnNames: labels } : {}
    return figure(capital(who), heatMap({ label, values, max: 1, root: true, cellName, ...names }))
  }
  const figures = [of('teacher', teacher), of('student', student)]
  if (untrained) figures.push(of('untrained student', untrained))
  const text = `${shown.join('')}${tokens.length > shown.length ? ' …' : ''}`
  return `<h3>Layer ${layer}, head ${head}</h3>
<div class="maps">${figures.join('')}</div>
<p class="soft"><small>${escapeText(text)}</small></p>`
}

/** KL of every head as a layer × head grid for up to four models, and entropy per layer. */
export function headsSection(report: Report): string {
  const names = [...new Set(report.heads.map(({ row }) => row))].sort((a, b) => order(a) - order(b)).slice(0, 4)
  if (names.length === 0) return ''
  const max = report.heads.reduce((most, { kl }) => (Number.isFinite(kl) ? Math.max(most, kl) : most), 0)
  const grids = names.map((name) => {
    const heads = report.heads.filter(({ row }) => row === name)
    const values = grid(heads, ({ kl }) => kl)
    const label = `KL from teacher to ${name} per head, layers from top to bottom`
    return figure(
      name,
      heatMap({
        label,
        values,
        max,
        written: true,
        rowNames: values.map((_, i) => `layer ${i}`),
        columnNames: (values[0] ?? []).map((_, j) => String(j)),
        cellName: (i, j) => `${name}, layer ${i}, head ${j}, KL`,
      }),
    )
  })
  return section(
    'Distance to the teacher, head by head',
    `KL of the attention weights in nats, a column for each head, one scale for all: ${key(decimals(max, 2))}`,
    `<div class="wide written">${grids.join('')}${figure('Entropy of the attention weights', entropyBars(report, names))}</div>`,
  )
}

function entropyBars(report: Report, names: readonly string[]): string {
  const hue = hues(report)
  const layers = [...new Set(report.heads.map(({ layer }) => layer))].sort((a, b) => a - b)
  const mean = (heads: readonly HeadScore[], value: (head: HeadScore) => number) =>
    heads.length === 0 ? undefined : heads.reduce((sum, head) => sum + value(head), 0) / heads.length
  const perLayer = (row: string, value: (head: HeadScore) => number) =>
    layers.map((layer) =>
      mean(
        report.heads.filter((head) => head.row === row && head.layer === layer),
        value,
      ),
    )
  const series = [
    { name: 'teacher', hue: 0, values: perLayer(names[0]!, ({ entropyTeacher }) => entropyTeacher) },
    ...names.map((name) => ({
      name,
      hue: hue(name),
      values: perLayer(name, ({ entropyStudent }) => entropyStudent),
    })),
  ]
  const label = `Mean entropy of the attention weights per layer, for teacher, ${names.join(', ')}`
  return groupedBars({ label, x: 'layer', y: 'entropy (nats), mean over heads', groups: layers.map(String), series })
}

/** Attention weight against q·k, a chart for each head of the report. */
export function weightsSection(report: Report): string {
  const hue = hues(report)
  const charts = report.weightCurves.map(({ layer, head, series }) => {
    const title = `Layer ${layer}, head ${head}`
    const coloured = series.map(({ name, points }) => ({ name, hue: hue(name), points }))
    const label = `${title}: attention weight against q·k for ${series.map(({ name }) => name).join(', ')}`
    return figure(title, scatterChart({ label, x: 'q·k/√d', y: 'attention weight', series: coloured }))
  })
  return charts.length === 0
    ? ''
    : section(
        'Weight against q·k',
        'Softmax weights rise with q·k and are spiky; a good feature map does as well.',
        wide(charts),
      )
}

const rowOrder = ['teacher', 'teacher-finetuned', 'hedgehog', 'hedgehog-distilled', 'elu', 't2r', 'untrained']
const knownHues: Readonly<Record<string, number>> = {
  teacher: 0,
  'teacher-finetuned': 0,
  softmax: 0,
  hedgehog: 1,
  elu: 2,
  t2r: 3,
  untrained: 4,
  'hedgehog-distilled': 5,
}

/** The colour of a model, the same in every chart of the page. */
function hues(report: Report): (name: string) => number {
  const others = report.rows.map(({ name }) => name).filter((name) => knownHues[name] === undefined)
  return (name) => knownHues[name] ?? 6 + (Math.max(0, others.indexOf(name)) % (hueCount - 6))
}

function order(name: string): number {
  const at = rowOrder.indexOf(name)
  return at < 0 ? rowOrder.length : at
}

function grid(heads: readonly HeadScore[], value: (head: HeadScore) => number): (number | undefined)[][] {
  const size = (of: (head: HeadScore) => number) => 1 + heads.reduce((most, head) => Math.max(most, of(head)), -1)
  const values = Array.from({ length: size((head) => head.layer) }, () =>
    new Array<number | undefined>(size((head) => head.head)).fill(undefined),
  )
  for (const head of heads) values[head.layer]![head.head] = value(head)
  return values
}

/** A token with its white space made visible. */
function visible(token: string): string {
  return token.replaceAll(' ', '␣').replaceAll('\n', '⏎').replaceAll('\t', '⇥')
}
