/** Shape rules that many operators share: broadcasting, axes, and the check of a function's dims. */

import type { ValueInfo } from './tensor.ts'

/** The shape that NumPy broadcasting gives. @throws RangeError when the shapes do not broadcast. */
export function broadcastShapes(where: string, a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1
    const y = b[i - rank + b.length] ?? 1
    if (x !== y && x !== 1 && y !== 1) throw new RangeError(`${where}: shapes [${a}] and [${b}] do not broadcast`)
    return x === 1 ? y : x
  })
}

/** A non-negative axis. @throws RangeError when it is outside the rank. */
export function positiveAxis(where: string, axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis
  if (positive < 0 || positive >= rank) throw new RangeError(`${where}: got axis ${axis}, want one of a rank ${rank}`)
  return positive
}

/** The shape after reducing over `axes`, which stay as size 1 when `keep`. */
export function reducedShape(shape: readonly number[], axes: readonly number[], keep: boolean): number[] {
  return shape.flatMap((size, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [size]))
}

/**
 * Binds the dims of several tensors to letters, e.g. `dims('softmax', { q, k }, { q: 'b h l d', k: 'b h s d' })`.
 * @throws RangeError when a rank is not the pattern's or a letter would have two sizes.
 */
export function dims<K extends string>(
  where: string,
  tensors: Readonly<Record<K, ValueInfo>>,
  patterns: Readonly<Record<K, string>>,
): Record<string, number> {
  const bound: Record<string, number> = {}
  for (const name of Object.keys(patterns) as K[]) {
    const { shape } = tensors[name]
    const letters = patterns[name].split(' ')
    if (letters.length !== shape.length) {
      throw new RangeError(`${where}: ${name} has shape [${shape}], want (${patterns[name]})`)
    }
    letters.forEach((letter, axis) => {
      const size = shape[axis]!
      bound[letter] ??= size
      if (bound[letter] !== size) {
        throw new RangeError(`${where}: ${name} (${patterns[name]}) has ${letter} = ${size}, want ${bound[letter]}`)
      }
    })
  }
  return bound
}
