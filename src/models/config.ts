/** Reads keys of a config.json, with errors that name the key. */

import { show } from '../io/json.ts'
import type { Json } from './model.ts'

/** More layers than any model has: a larger number would only fill the memory. */
export const mostLayers = 1000

/** Typed access to a family's config.json. */
export interface ConfigReader {
  /** A whole number from 1. */
  size(key: string, fallback?: number): number
  /** A number of layers: a whole number from 1 to {@link mostLayers}. */
  layers(key: string): number
  /** A finite number above 0. */
  positive(key: string, fallback?: number): number
  /** One of the values that are supported. */
  only(key: string, values: readonly unknown[], fallback: unknown): void
  /** @throws RangeError unless the first key's value divides the second's. */
  divides(divisor: string, key: string): void
}

/** @throws Error from each method: the key, what it holds and what is wanted. */
export function configReader(family: string, json: Json): ConfigReader {
  const wrong = (key: string, want: string) =>
    new Error(`config.json: ${key}: got ${show(json[key])}, want ${want} (${family})`)
  const numeric = (key: string, fallback: number | undefined, fits: (n: number) => boolean, want: string) => {
    const value = json[key] ?? fallback
    if (typeof value === 'number' && fits(value)) return value
    throw wrong(key, want)
  }
  const size = (key: string, fallback?: number) =>
    numeric(key, fallback, (n) => Number.isInteger(n) && n >= 1, 'a whole number from 1')
  return {
    size,
    layers: (key) =>
      numeric(
        key,
        undefined,
        (n) => Number.isInteger(n) && n >= 1 && n <= mostLayers,
        `a whole number up to ${mostLayers}`,
      ),
    positive: (key, fallback) => numeric(key, fallback, (n) => n > 0 && n < Infinity, 'a number above 0'),
    only(key, values, fallback) {
      if (!values.includes(json[key] ?? fallback)) throw wrong(key, values.map((v) => JSON.stringify(v)).join(' or '))
    },
    divides(divisor, key) {
      if (size(key) % size(divisor)) throw wrong(divisor, `a divisor of ${key} = ${size(key)}`)
    },
  }
}
