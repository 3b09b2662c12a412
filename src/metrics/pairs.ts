/** Checks that all metrics share: what is compared comes in pairs, and there is at least one. */

/** How many pairs there are. @throws RangeError unless both have the same length, at least 1. */
export function pairCount(where: string, given: { readonly length: number }, wanted: { readonly length: number }) {
  if (given.length !== wanted.length) {
    throw new RangeError(`${where}: got ${given.length} values beside ${wanted.length}, want as many of both`)
  }
  if (given.length === 0) throw new RangeError(`${where}: got nothing to measure, want at least one pair`)
  return given.length
}

/** @throws RangeError for the first value that `holds` is false of. */
export function checkEach(
  where: string,
  values: ArrayLike<number>,
  holds: (value: number) => boolean,
  want: string,
): void {
  for (let i = 0; i < values.length; i++) {
    if (!holds(values[i]!)) throw new RangeError(`${where}: value ${i}: got ${values[i]}, want ${want}`)
  }
}
