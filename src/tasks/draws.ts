/** Tasks that are drawn at random: batches without end, each determined by a seed and its number, and a fixed held-out set. */

import { type Random, random } from '../base/random.ts'

/** Draws one batch; all that it draws comes from `rng`. */
export type Draw<T> = (rng: Random) => T

/** Where a stream of drawn batches stands; plain JSON. */
export interface DrawsState {
  /** Batches that were given out. */
  readonly drawn: number
}

/** Drawn batches without end; what a training loop reads. */
export interface Draws<T> {
  next(): T
  state(): DrawsState
  /** Goes on where `state` was taken. @throws Error when it is none. */
  restore(state: unknown): void
}

/** A stream of batches; batch n follows from the seed and n alone. */
export function draws<T>(draw: Draw<T>, { seed }: { readonly seed: number }): Draws<T> {
  const training = random(seed).split('training')
  let drawn = 0
  return {
    next: () => draw(training.split(drawn++)),
    state: () => ({ drawn }),
    restore(state) {
      const { drawn: saved } = Object(state) as { readonly drawn?: unknown }
      if (!Number.isSafeInteger(saved) || (saved as number) < 0) {
        throw new Error(`draws: got the state ${JSON.stringify(state)}, want one that state() gave`)
      }
      drawn = saved as number
    },
  }
}

/**
 * A fixed number of batches that no stream of the same seed gives out; the same each time it is iterated.
 * They are drawn anew rather than kept.
 */
export function heldOutDraws<T>(
  draw: Draw<T>,
  { seed, batches }: { readonly seed: number; readonly batches: number },
): Iterable<T> {
  return {
    *[Symbol.iterator]() {
      for (let i = 0; i < batches; i++) yield draw(random(seed).split('held-out').split(i))
    },
  }
}

/** Checks sizes that have to be whole numbers from a lowest one on. @throws RangeError naming the size. */
export function checkSizes(where: string, lowest: number, sizes: Readonly<Record<string, number>>): void {
  for (const [name, size] of Object.entries(sizes)) {
    if (!Number.isSafeInteger(size) || size < lowest) {
      throw new RangeError(`${where}: got ${name} ${size}, want a whole number from ${lowest}`)
    }
  }
}
