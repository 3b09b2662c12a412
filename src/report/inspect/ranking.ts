/** What an inspection comes to: maps in order, the best of those with few features, and both in words. */

import { decimals } from '../summary.ts'
import type { InspectedMap, InspectReport, PropertyValues } from './types.ts'

/** The name that softmax itself has among the maps. */
export const softmaxName = 'softmax'

type Measured = Pick<InspectReport, 'maps' | 'rows' | 'texts' | 'mainLength' | 'lengths' | 'distillation'>

/** Mean values of a map on a text, at the main length where none is given. */
export function valuesOf(report: Measured, map: string, text: string, length = report.mainLength): PropertyValues {
  const found = report.rows.find((row) => row.map === map && row.text === text && row.length === length)
  return found?.values ?? {}
}

/** Softmax first, then the maps with the lowest KL on the first text. */
export function rankedMaps(report: Measured): InspectedMap[] {
  const text = report.texts[0]?.name ?? ''
  const klOf = ({ name }: InspectedMap) => {
    const kl = valuesOf(report, name, text).kl ?? 0
    return name === softmaxName ? -1 : Number.isFinite(kl) ? kl : Number.MAX_VALUE
  }
  return [...report.maps].sort((a, b) => klOf(a) - klOf(b))
}

/** Features as `2d`, `d` or a number; `–` for what has no feature map. */
export function featuresText({ features, headDim }: InspectedMap): string {
  if (features === undefined) return '–'
  if (features === headDim) return 'd'
  return features === 2 * headDim ? '2d' : String(features)
}

/** The name of a text as a column's title: without its ending, at most so long. */
export function shortText(name: string, most = 8): string {
  return name.replace(/\.[a-z]+$/i, '').slice(0, most)
}

/** The result in a few sentences: which map with at most 2d features is nearest to softmax, on each text. */
export function inspectHeadline(report: Measured): string {
  const small = report.maps.filter(({ features, headDim }) => features !== undefined && features <= 2 * headDim)
  const ranked = report.texts.map(({ name }) => {
    const order = small
      .map((map) => ({ map: map.name, kl: valuesOf(report, map.name, name).kl }))
      .filter((one): one is { map: string; kl: number } => Number.isFinite(one.kl))
      .sort((a, b) => a.kl - b.kl)
    return { text: name, order }
  })
  const [first] = ranked
  if (!first || ranked.some(({ order }) => order.length < 2))
    return 'Properties of attention weights, as means over heads and queries.'
  const best = first.order[0]!.map
  const where = ranked.map(({ text, order }) => {
    const [one, two] = order as [{ map: string; kl: number }, { map: string; kl: number }]
    const who = one.map === best ? '' : `${one.map} `
    return `on ${text} ${who}${decimals(one.kl, 3)}, before ${two.map} ${decimals(two.kl, 3)}`
  })
  return (
    `Of the ${small.length} maps with at most 2d features, ${best} has the lowest KL from softmax at ` +
    `${report.mainLength} tokens: ${where.join('; ')}.`
  )
}

/** What is stretched, and what that means; empty where nothing is. */
export function stretchedNote({ lengths, distillation }: Measured): string {
  const stretched = lengths.filter((one) => one.stretched).map(({ length }) => length)
  if (stretched.length === 0) return ''
  const distilled = distillation ? `; maps were distilled on ${distillation.length} tokens` : ''
  return (
    `* Lengths ${stretched.join(', ')} use learned positions that were stretched by linear interpolation; the model, ` +
    `softmax included, was never trained on them${distilled}.`
  )
}
