/** What all charts share: escaping, the SVG element, round ticks and short numbers. */

import { decimals } from './summary.ts'

/** Text made safe for HTML and SVG, in content and in quoted attributes. */
export function escapeText(text: string): string {
  // Control characters are not allowed in XML in any form.
  const clean = [...text].map((c) => (c < ' ' || c === '\x7f' ? ' ' : c)).join('')
  return clean.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

/** An SVG image of this size, which may grow to 1.3 times its size (`growth`) but no more, so that texts stay alike. */
export function svg(width: number, height: number, label: string, parts: readonly string[], growth = 1.3): string {
  return `<svg viewBox="0 0 ${round(width)} ${round(height)}" style="max-width:${Math.round(width * growth)}px" role="img" aria-label="${escapeText(label)}">${parts.join('')}</svg>`
}

/**
 * Round ticks for these values, and the share of the axis at which a value stands.
 * @param ends - where the axis ends: at round `ticks` around the values (the default), or where the `data` does
 */
export function ticksOf(values: readonly number[], ends: 'ticks' | 'data' = 'ticks') {
  const low = values.reduce((least, value) => Math.min(least, value), Infinity)
  const high = values.reduce((most, value) => Math.max(most, value), -Infinity)
  const [least, most] = low < high ? [low, high] : Number.isFinite(low) ? [low - 1, low + 1] : [0, 1]
  const rough = (most - least) / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10)
  const isRound = ends === 'ticks'
  const first = isRound ? Math.floor(least / step + 1e-9) : Math.ceil(least / step - 1e-9)
  const last = isRound ? Math.ceil(most / step - 1e-9) : Math.floor(most / step + 1e-9)
  const [from, to] = isRound ? [first * step, last * step] : [least, most]
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step)
  return { from, step, ticks, share: (value: number) => (value - from) / (to - from) }
}

/** A tick in as many decimals as its step needs. */
export function tickText(value: number, step: number): string {
  if (Math.abs(value) >= 10000) return `${decimals(value / 1000, step % 1000 === 0 ? 0 : 1)}k`
  return decimals(
    Math.abs(value) < step / 2 ? 0 : value,
    Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))),
  )
}

/** Rounded to a tenth, which is enough for a coordinate. */
export function round(value: number): number {
  return Math.round(value * 10) / 10
}

/** The length of the longest text. */
export function longest(texts: readonly string[]): number {
  return texts.reduce((most, text) => Math.max(most, text.length), 0)
}
