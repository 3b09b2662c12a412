/** Checks of what a JSON file holds, before it is drawn: the first thing that does not fit is one line. */

/** Checks a value. @throws TypeError naming the place in the file. */
export type Shape = (value: unknown, where: string) => void

/** Numbers; what JSON has no word for, such as infinity, is written as null. */
export const number: Shape = (value, where) =>
  want(typeof value === 'number' || value === null, where, value, 'a number')

/** Whole numbers from 0 to `most`, e.g. of layers, which grids are made for. */
export const whole =
  (most: number): Shape =>
  (value, where) =>
    want(
      Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most,
      where,
      value,
      `a whole number from 0 to ${most}`,
    )

export const text: Shape = (value, where) => want(typeof value === 'string', where, value, 'a text')

export const flag: Shape = (value, where) => want(typeof value === 'boolean', where, value, 'true or false')

/** One of some texts. */
export const oneOf =
  (...known: readonly string[]): Shape =>
  (value, where) =>
    want(known.includes(value as string), where, value, known.join(' or '))

export const listOf =
  (inner: Shape): Shape =>
  (value, where) => {
    if (!Array.isArray(value)) throw wrong(where, value, 'a list')
    for (const [i, one] of value.entries()) inner(one, `${where}[${i}]`)
  }

/** Objects whose values are alike, by any name. */
export const tableOf =
  (inner: Shape): Shape =>
  (value, where) => {
    if (!isRecord(value)) throw wrong(where, value, 'an object')
    for (const [name, one] of Object.entries(value)) inner(one, `${where}.${name}`)
  }

/** What may be left out. */
export const optional =
  (inner: Shape): Shape =>
  (value, where) =>
    value === undefined || inner(value, where)

/** Objects with these values by name; others may be there too. */
export const object =
  (fields: Readonly<Record<string, Shape>>): Shape =>
  (value, where) => {
    if (!isRecord(value)) throw wrong(where, value, 'an object')
    for (const [name, inner] of Object.entries(fields)) {
      inner(Object.hasOwn(value, name) ? value[name] : undefined, where === '' ? name : `${where}.${name}`)
    }
  }

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function want(holds: boolean, where: string, value: unknown, what: string): void {
  if (!holds) throw wrong(where, value, what)
}

function wrong(where: string, value: unknown, what: string): TypeError {
  const got = value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 40)
  return new TypeError(`${where || 'the file'}: got ${got}, want ${what}`)
}
