/** What a look is drawn as: heat maps, a curve, and the table of one query. */

import { heatMap } from '../../report/heatmap.ts'
import { lineChart, type Series } from '../../report/plots.ts'
import { decimals } from '../../report/summary.ts'
import { type Child, drawn, h } from '../dom.ts'
import type { Look } from './types.ts'

/** Colours of softmax and of the map, as in reports. */
const hues = { softmax: 0, linear: 1 }

/** The weights of one head by softmax or by the map, with the tokens at its sides. */
export function weightsMap(look: Look, of: 'softmax' | 'linear'): string {
  const { tokens, layer, head, map } = look
  const names = tokens.map(visible)
  const who = of === 'softmax' ? 'softmax' : map
  return heatMap({
    label: `Attention weights of ${who} in layer ${layer}, head ${head}, over ${tokens.length} tokens; the table has those of one query`,
    values: look[of],
    max: 1,
    root: true,
    rowNames: names,
    columnNames: names,
    cellName: (i, j) => `${names[i]} → ${names[j]}`,
  })
}

/** Weights of one query over its q·k, by softmax and by the map. */
export function weightCurve(look: Look, query: number): string {
  const { layer, head, map, scores, tokens } = look
  const series = (['linear', 'softmax'] as const).map((of): Series => {
    const points = scores[query]!.map((score, i) => [score, look[of][query]![i]!] as const)
    return { name: of === 'softmax' ? 'softmax' : map, hue: hues[of], points: points.sort(([a], [b]) => a - b) }
  })
  const label = `Attention weight against q·k of the query ${visible(tokens[query]!)} in layer ${layer}, head ${head}, softmax and ${map}`
  return lineChart({ label, x: 'q·k/√d', y: 'attention weight', series })
}

/** The keys of one query with their weights, the heaviest first. */
export function queryTable({ tokens, softmax, linear, scores, map }: Look, query: number): HTMLElement {
  const keys = softmax[query]!.map((weight, key) => ({ key, weight })).sort((a, b) => b.weight - a.weight)
  const cells = (...texts: readonly string[]) => texts.map((text) => h('td', {}, text))
  return h(
    'div',
    { class: 'scroll tall', role: 'region', 'aria-label': 'Weights of the query', tabindex: 0 },
    h(
      'table',
      {},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          ['Key', 'q·k/√d', 'softmax', map].map((title) => h('th', { scope: 'col' }, title)),
        ),
      ),
      h(
        'tbody',
        {},
        keys.map(({ key, weight }) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, visible(tokens[key]!), h('span', { class: 'soft' }, ` ${key + 1}`)),
            cells(decimals(scores[query]![key], 2), decimals(weight, 3), decimals(linear[query]![key], 3)),
          ),
        ),
      ),
    ),
  )
}

/** More heads than this are a picture, not buttons. */
const mostButtons = 160

/** KL of every head; a cell is a button that shows its head, where there are not too many of them. */
export function headsTable({ kl, layer, head }: Look, choose: (layer: number, head: number) => void): HTMLElement {
  const all = kl.flat().filter(Number.isFinite)
  const most = all.reduce((top, value) => Math.max(top, value), 0.05)
  if (all.length > mostButtons) {
    const label = 'KL from softmax to the map, layers from top to bottom, heads from left to right'
    const cellName = (l: number, i: number) => `layer ${l}, head ${i}, KL`
    return drawn(heatMap({ label, values: kl, max: most, root: true, rowNames: kl.map((_, l) => `${l}`), cellName }))
  }
  const cell = (value: number, l: number, i: number): Child => {
    const share = Math.sqrt(Math.min(1, Math.max(0, value / most)))
    const attributes = {
      type: 'button',
      // At most so much of the hue that the number stays readable.
      style: `--share:${Math.round(share * 45)}%`,
      'aria-pressed': l === layer && i === head ? 'true' : 'false',
      'aria-label': `layer ${l}, head ${i}: KL ${decimals(value, 2)}`,
      onclick: () => choose(l, i),
    }
    return h('td', {}, h('button', attributes, decimals(value, 2)))
  }
  return h(
    'div',
    { class: 'scroll' },
    h(
      'table',
      { class: 'heads' },
      h('caption', { class: 'unseen' }, 'KL from softmax to the map, by layer and head'),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('td'),
          kl[0]!.map((_, i) => h('th', { scope: 'col' }, `head ${i}`)),
        ),
      ),
      h(
        'tbody',
        {},
        kl.map((row, l) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, `layer ${l}`),
            row.map((value, i) => cell(value, l, i)),
          ),
        ),
      ),
    ),
  )
}

/** The tokens as a choice of the query, each with two bars for how much the chosen one attends to it. */
export function tokenChoice(look: Look, query: number, choose: (query: number) => void): HTMLElement {
  const { tokens, softmax, linear } = look
  const width = (weights: readonly number[], i: number) => `${Math.round(100 * Math.sqrt(weights[i] ?? 0))}%`
  return h(
    'fieldset',
    { class: 'tokens' },
    h('legend', {}, 'Query'),
    tokens.map((token, i) => {
      const style = `--a:${width(softmax[query]!, i)};--b:${width(linear[query]!, i)}`
      const input = h('input', { type: 'radio', name: 'query', checked: i === query, onchange: () => choose(i) })
      return h('label', { style }, input, h('span', {}, visible(token)))
    }),
  )
}

/** A token with its white space made visible, but for the space that most words begin with. */
export function visible(token: string): string {
  const shown = token.replaceAll('\n', '⏎').replaceAll('\t', '⇥')
  return shown.trim() === '' ? shown.replaceAll(' ', '␣') || '∅' : shown.trim()
}
