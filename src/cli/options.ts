/** Descriptions of command line options, and the type of the values that a table of them yields. */

import { UsageError } from '../base/errors.ts'
import type { Reader } from './readers.ts'

/** One option of a command. Its name is its key in the table: `distillSteps` is written `--distill-steps`. */
export interface Option<T = unknown, Always extends boolean = boolean> {
  readonly summary: string
  /** What stands for the value in the help, e.g. `FILE`; absent for a flag. */
  readonly value?: string
  /** What a value must be, in words. */
  readonly want: string
  /** True where a value is always there: a flag, a default, or a required option. */
  readonly always: Always
  readonly required: boolean
  /** True where several values may follow, or the option may be repeated. */
  readonly many: boolean
  readonly initial?: T
  /** The value after one more text, undefined when the text is bad. */
  read(text: string, previous: T | undefined): T | undefined
}

/** Options by name. */
export type OptionTable = Readonly<Record<string, Option>>

type ValueOf<O> = O extends Option<infer T> ? T : never
type AlwaysKeys<O extends OptionTable> = { [K in keyof O]: O[K]['always'] extends true ? K : never }[keyof O]

/** The values that a table of options yields; an option that was not given is left out. */
export type Values<O extends OptionTable> = {
  readonly [K in AlwaysKeys<O>]: ValueOf<O[K]>
} & {
  readonly [K in Exclude<keyof O, AlwaysKeys<O>>]?: ValueOf<O[K]>
}

/** An option that is there or not: `--force`. */
export function flag(summary: string): Option<boolean, true> {
  return { summary, want: 'no value', always: true, required: false, many: false, initial: false, read: () => true }
}

/** An option with a value: `option('FILE', path, 'the text to train on')`. */
export function option<T>(value: string, reader: Reader<T>, summary: string): Option<T, false> {
  const read = (text: string) => reader.read(text)
  return { summary, value, want: reader.want, always: false, required: false, many: false, read }
}

/** The same option with a value for when it is not given. */
export function withDefault<T>(base: Option<T, false>, initial: T): Option<T, true> {
  return { ...base, always: true, initial }
}

/** The same option, which must be given. */
export function required<T>(base: Option<T, false>): Option<T, true> {
  return { ...base, always: true, required: true }
}

/** The same option with one or more values: `--data A B`, or `--data A --data B`. */
export function many<T>(base: Option<T, false>): Option<readonly T[], false> {
  const { initial: _, ...rest } = base
  return {
    ...rest,
    many: true,
    read(text, previous = []) {
      const value = base.read(text, undefined)
      return value === undefined ? undefined : [...previous, value]
    },
  }
}

/** How an option is written: `distillSteps` -> `--distill-steps`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** The value of the option `name` after one more text. @throws UsageError naming option, text and what is wanted. */
export function readOption<T>(name: string, described: Option<T>, text: string, previous?: T): T {
  const value = described.read(text, previous)
  if (value === undefined) throw new UsageError(`${flagOf(name)}: got '${text}', want ${described.want}`)
  return value
}
