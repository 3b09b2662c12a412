/** Readers of option values: each turns text into a value and says in words what it wants, so that an error can. */

import type { LoraOptions } from '../train/lora.ts'

/** Reads one option value; `read` answers undefined for a text it does not take. */
export interface Reader<T> {
  /** What is wanted, in words that follow "want", e.g. `a whole number of at least 1`. */
  readonly want: string
  read(text: string): T | undefined
}

/** Any text but the empty one. */
export const anyText: Reader<string> = { want: 'some text', read: (text) => (text === '' ? undefined : text) }

/** A path of a file or folder; whether it exists is for the command to find out. */
export const path: Reader<string> = { ...anyText, want: 'a path' }

/** A whole number, written in decimal digits or like `1e6`, within [from, to]. */
export function integer(from = 1, to = Number.MAX_SAFE_INTEGER): Reader<number> {
  const limit = to === Number.MAX_SAFE_INTEGER ? `of at least ${from}` : `from ${from} to ${to}`
  const inside = (value: number) => Number.isSafeInteger(value) && value >= from && value <= to
  return { want: `a whole number ${limit}`, read: (text) => onlyIf(decimal(text), inside) }
}

/** A finite number above `above`, or in [from, to]: `number({ from: 0, to: 1 })`. */
export function number(limits: NumberLimits = {}): Reader<number> {
  const { above = -Infinity, from = -Infinity, below = Infinity, to = Infinity } = limits
  const inside = (value: number) => value > above && value >= from && value < below && value <= to
  return { want: ['a number', ...inWords(limits)].join(' '), read: (text) => onlyIf(decimal(text), inside) }
}

/** Limits of {@link number}: `from` and `to` belong to the range, `above` and `below` do not. */
export interface NumberLimits {
  readonly above?: number
  readonly from?: number
  readonly below?: number
  readonly to?: number
}

/** A day as 2025-03-01, at its beginning in UTC. */
export const day: Reader<Date> = {
  want: 'a day like 2025-03-01',
  read(text) {
    const date = new Date(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : Number.NaN)
    // A day that its month does not have would be read as one of the next.
    return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text) ? date : undefined
  },
}

/** One of the given names. */
export function oneOf<const Name extends string>(...names: readonly Name[]): Reader<Name> {
  return { want: `one of ${names.join(', ')}`, read: (text) => names.find((name) => name === text) }
}

/** Values with commas between them, at least one. */
export function listOf<T>(reader: Reader<T>): Reader<readonly T[]> {
  return {
    want: `${reader.want}, or several with commas between them`,
    read(text) {
      const values = text.split(',').map((part) => reader.read(part.trim()))
      return values.every((value): value is T & {} => value !== undefined && value !== null) ? values : undefined
    },
  }
}

/** Numbers by name: `width=128,steps=9000`. */
export const settings: Reader<Readonly<Record<string, number>>> = {
  want: 'NAME=NUMBER, or several with commas between them',
  read(text) {
    const pairs = text.split(',').map((part) => part.split('=').map((word) => word.trim()))
    const read = pairs.map(
      ([name = '', value = '', ...more]) => [name, more.length ? undefined : decimal(value)] as const,
    )
    const fits = read.every((pair): pair is readonly [string, number] => pair[0] !== '' && pair[1] !== undefined)
    return fits ? Object.fromEntries(read) : undefined
  },
}

/** A LoRA adapter: `rank=8,alpha=16,dropout=0.05,targets=q_proj,v_proj,rslora`; `targets=all-linear` for all layers. */
export const loraSettings: Reader<LoraOptions> = {
  want: 'rank=N, alpha=X, dropout=X, targets=NAME,… and rslora, as many as wanted, with commas between them',
  read(text) {
    const found: { [name: string]: number | boolean | string[] } = {}
    for (const part of text.split(',').map((word) => word.trim())) {
      const [name = '', value, ...more] = part.split('=')
      const targets = found.targets as string[] | undefined
      if (part === 'rslora') found.rankStabilized = true
      else if (value === undefined && targets && part !== '') targets.push(part)
      else if (name === 'targets' && value && !targets && more.length === 0) found.targets = [value]
      else {
        const number =
          loraNumbers.includes(name) && !(name in found) && more.length === 0 ? decimal(value ?? '') : undefined
        if (number === undefined) return undefined
        found[name] = number
      }
    }
    const { targets, ...rest } = found as { targets?: string[] } & LoraOptions
    return { ...rest, ...(targets && { targets: `${targets}` === 'all-linear' ? 'all-linear' : targets }) }
  },
}

/** An amount of memory in bytes: `6GB`, `512MB`, `1.5e9`. */
export const bytes: Reader<number> = {
  want: 'an amount like 6GB or 512MB',
  read(text) {
    const [, amount, unit = ''] = /^([\d.e]+)\s*([kMGT]?i?B?)$/i.exec(text) ?? []
    const number = amount === undefined ? undefined : decimal(amount)
    const power = ['', 'k', 'm', 'g', 't'].indexOf(unit.toLowerCase().replace(/i?b$/, ''))
    const base = /i/i.test(unit) ? 1024 : 1000
    return number === undefined || number <= 0 || power < 0 ? undefined : number * base ** power
  },
}

/** One of several parts, counted from 1: `3/8`. */
export const shardOf: Reader<{ readonly shard: number; readonly shards: number }> = {
  want: 'I/N with I from 1 to N, e.g. 3/8',
  read(text) {
    const [, shard, shards] = (/^(\d+)\/(\d+)$/.exec(text) ?? []).map(Number)
    return shard && shards && shard <= shards ? { shard, shards } : undefined
  },
}

const loraNumbers = ['rank', 'alpha', 'dropout']

function decimal(text: string): number | undefined {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? onlyIf(Number(text), Number.isFinite) : undefined
}

function onlyIf(value: number | undefined, holds: (value: number) => boolean): number | undefined {
  return value !== undefined && holds(value) ? value : undefined
}

function inWords({ above, from, below, to }: NumberLimits): string[] {
  const words: string[] = []
  if (above !== undefined) words.push(`above ${above}`)
  if (from !== undefined) words.push(`at least ${from}`)
  if (below !== undefined) words.push(`below ${below}`)
  if (to !== undefined) words.push(`at most ${to}`)
  return words.length === 2 ? [words[0]!, 'and', words[1]!] : words
}
