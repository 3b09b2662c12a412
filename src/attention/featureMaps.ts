/** The table of feature maps φ of linear attention, and the names that choose one of it. */

import { fixedMaps } from './maps/fixed.ts'
import { learnedMaps } from './maps/learned.ts'
import type { FeatureMap, MapEntry, Variant } from './maps/map.ts'
import { polynomialMaps } from './maps/polynomial.ts'

export type { FeatureMap, MapEntry, MapSizes, Variant } from './maps/map.ts'

/** Every map, the paper's first. */
export const featureMaps: Readonly<Record<string, MapEntry>> = { ...learnedMaps, ...fixedMaps, ...polynomialMaps }

/**
 * A map by name: an entry of the table, then what is chosen of it: `performer:128` (a number), `hedgehog-exp+half+tied`
 * (variants).
 */
export type MapName = string

/** Short names: the variant that a plain name means. */
export const mapAliases: Readonly<Record<string, MapName>> = {
  hedgehog: 'hedgehog-exp',
  'exp-1': 'exp-t:1',
  'exp-2': 'exp-t:2',
}

interface Parsed {
  readonly base: string
  readonly entry: MapEntry
  readonly argument?: number
  readonly variants: readonly Variant[]
}

/** The full name that a name or a short name means. @throws RangeError naming the known ones. */
export function mapNamed(name: string, where = 'featureMap'): MapName {
  const { base, argument, variants } = parsed(name, where)
  const order = featureMaps[base]!.variants.filter((variant) => variants.includes(variant))
  return [`${base}${argument === undefined ? '' : `:${argument}`}`, ...order].join('+')
}

/** The map of a name. @throws RangeError at `where`, naming the known maps or what this one allows. */
export function featureMap(name: MapName, where = 'featureMap'): FeatureMap {
  const { entry, argument, variants } = parsed(name, where)
  return entry.build({
    half: variants.includes('half'),
    bias: variants.includes('bias'),
    ...(argument !== undefined && { argument }),
  })
}

/** Whether queries and keys share the parameters of a map. */
export function isTied(name: MapName): boolean {
  return parsed(name, 'isTied').variants.includes('tied')
}

/** The line of the table that a name chooses of. */
export function mapEntry(name: MapName): MapEntry {
  return parsed(name, 'mapEntry').entry
}

/** A map as a model with so many positions needs it: maps that depend on positions get their number. */
export function mapFor(name: MapName, positions: number): MapName {
  const { entry, argument } = parsed(name, 'mapFor')
  return entry.argument === 'positions' && argument === undefined ? mapNamed(`${name}:${positions}`) : name
}

function parsed(name: string, where: string): Parsed {
  const [head = '', ...rest] = String(name).split('+')
  const full = Object.hasOwn(mapAliases, head) ? mapAliases[head]! : head
  const [base = '', number] = full.split(':')
  const entry = Object.hasOwn(featureMaps, base) ? featureMaps[base] : undefined
  if (!entry) {
    const known = [...Object.keys(mapAliases), ...Object.keys(featureMaps)].join(', ')
    throw new RangeError(`${where}: got feature map ${name}, want one of ${known}`)
  }
  const variants = rest.map((variant) => variantNamed(variant, name, entry, where))
  if (number === undefined) return { base, entry, variants }
  if (!entry.argument || !/^[1-9]\d{0,6}$/.test(number)) {
    const want = entry.argument
      ? `${base}:N with ${entry.argument} N, a whole number from 1`
      : `${base} without a number`
    throw new RangeError(`${where}: got feature map ${name}, want ${want}`)
  }
  return { base, entry, variants, argument: Number(number) }
}

function variantNamed(variant: string, name: string, { variants }: MapEntry, where: string): Variant {
  const found = variants.find((known) => known === variant)
  if (found) return found
  const want = variants.length ? `+${variants.join(', +')}` : 'no variant'
  throw new RangeError(`${where}: got feature map ${name} with the variant ${variant}, want ${want}`)
}
