/** Reads the fields of a JSON body one by one, each with what it must be, so that every mistake is named. */

import { RequestFault } from './faults.ts'

/** A body with its fields; each reader gives undefined for a field that is missing or null. */
export interface Fields {
  has(name: string): boolean
  value(name: string): unknown
  integer(name: string, from: number, to: number): number | undefined
  number(name: string, from: number, to: number): number | undefined
  boolean(name: string): boolean | undefined
  text(name: string, most?: number): string | undefined
  /** A text or a list of texts, as a list. */
  texts(name: string, most: number, mostLength: number): readonly string[] | undefined
  object(name: string): Fields | undefined
  list(name: string, most: number): readonly unknown[] | undefined
  /** @throws RequestFault naming the first field that is in none of the lists. */
  only(...known: readonly (readonly string[])[]): void
  /** A refusal that names the field. */
  wrong(name: string, want: string): RequestFault
}

/** @param where the path of the object within the body, `''` for the body itself. @throws RequestFault unless it is an object. */
export function fieldsOf(body: unknown, where = ''): Fields {
  const pathOf = (name: string) => (where === '' ? name : `${where}.${name}`)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new RequestFault(400, `${where || 'the body'}: got ${shown(body)}, want a JSON object`, {
      ...(where && { param: where }),
    })
  }
  const record = body as Readonly<Record<string, unknown>>
  const has = (name: string) => Object.hasOwn(record, name) && record[name] !== null && record[name] !== undefined
  const value = (name: string) => (has(name) ? record[name] : undefined)
  const wrong = (name: string, want: string) =>
    new RequestFault(400, `${pathOf(name)}: got ${shown(record[name])}, want ${want}`, { param: pathOf(name) })
  const read = <T>(name: string, want: string, fits: (found: unknown) => found is T): T | undefined => {
    const found = value(name)
    if (found === undefined || fits(found)) return found
    throw wrong(name, want)
  }
  const inside =
    (from: number, to: number) =>
    (found: unknown): found is number =>
      typeof found === 'number' && found >= from && found <= to
  const isText =
    (most: number) =>
    (found: unknown): found is string =>
      typeof found === 'string' && found.length <= most
  return {
    has,
    value,
    integer: (name, from, to) =>
      read(
        name,
        `a whole number from ${from} to ${to}`,
        (found): found is number => Number.isInteger(found) && inside(from, to)(found),
      ),
    number: (name, from, to) => read(name, `a number from ${from} to ${to}`, inside(from, to)),
    boolean: (name) => read(name, 'true or false', (found) => typeof found === 'boolean'),
    text: (name, most = Number.MAX_SAFE_INTEGER) =>
      read(name, most === Number.MAX_SAFE_INTEGER ? 'a text' : `a text of at most ${most} characters`, isText(most)),
    texts(name, most, mostLength) {
      const want = `a text or a list of at most ${most}, each of 1 to ${mostLength} characters`
      const found = value(name)
      if (found === undefined) return undefined
      const list = typeof found === 'string' ? [found] : found
      const fits =
        Array.isArray(list) && list.length <= most && list.every((one) => isText(mostLength)(one) && one !== '')
      if (!fits) throw wrong(name, want)
      return list
    },
    object: (name) => (has(name) ? fieldsOf(record[name], pathOf(name)) : undefined),
    list: (name, most) =>
      read(
        name,
        `a list of 1 to ${most}`,
        (found): found is readonly unknown[] => Array.isArray(found) && found.length >= 1 && found.length <= most,
      ),
    only(...known) {
      const other = Object.keys(record).find((name) => !known.some((names) => names.includes(name)))
      if (other === undefined) return
      throw new RequestFault(400, `${pathOf(other).slice(0, 100)}: is not known here`, {
        param: pathOf(other).slice(0, 100),
      })
    },
    wrong,
  }
}

/** A value as a message shows it: short, and of an object no more than its kind. */
function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  const text = JSON.stringify(value)
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`
}
