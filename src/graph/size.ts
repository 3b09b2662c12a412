/** Sizes that are known only when a graph runs, as expressions in names such as `batch`. */

/** A number, a name, or a product or sum of sizes. */
export type Size = number | string | { readonly op: 'times' | 'plus'; readonly of: readonly Size[] }

/** How a size is shown, e.g. as the name of an axis: `batch`, `past + sequence`. */
export function sizeText(size: Size): string {
  if (typeof size !== 'object') return String(size)
  if (size.op === 'plus') return size.of.map(sizeText).join(' + ')
  return size.of.map((part) => (isSum(part) ? `(${sizeText(part)})` : sizeText(part))).join(' * ')
}

/**
 * The size that has these values at several known sizes: a product of names, a number, and a sum of names and a number.
 * Undefined where there is none.
 */
export function fittedSize(
  values: readonly number[],
  known: readonly Readonly<Record<string, number>>[],
): Size | undefined {
  if (values.every((value) => value === values[0])) return values[0]!
  const names = Object.keys(known[0]!)
  const of = (name: string) => known.map((sizes) => sizes[name]!)
  const sum = fittedSum(values, names, of)
  if (sum !== undefined) return sum
  for (const name of names) {
    const rest = values.map((value, i) => value / of(name)[i]!)
    const factor = rest.every(Number.isInteger) ? fittedSize(rest, known) : undefined
    if (factor !== undefined) return times(name, factor)
  }
  return undefined
}

/** Σ of some names, and a number. */
function fittedSum(
  values: readonly number[],
  names: readonly string[],
  of: (name: string) => readonly number[],
): Size | undefined {
  for (let chosen = 1; chosen < 2 ** names.length; chosen++) {
    const some = names.filter((_, i) => chosen & (1 << i))
    const rest = values.map((value, i) => some.reduce((left, name) => left - of(name)[i]!, value))
    if (rest.every((value) => value === rest[0])) {
      const terms: Size[] = rest[0] === 0 ? some : [...some, rest[0]!]
      return terms.length === 1 ? terms[0]! : { op: 'plus', of: terms }
    }
  }
  return undefined
}

function times(name: string, factor: Size): Size {
  if (factor === 1) return name
  const rest = typeof factor === 'object' && factor.op === 'times' ? factor.of : [factor]
  return { op: 'times', of: [name, ...rest] }
}

function isSum(size: Size): boolean {
  return typeof size === 'object' && size.op === 'plus'
}
