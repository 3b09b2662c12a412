/** Associative recall: sequences of keys and values, and keys whose values are asked for. */

import { ints } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import type { TokenBatch } from '../io/batches.ts'
import { checkSizes } from './draws.ts'

/** Options of {@link associativeRecall}. */
export interface RecallOptions {
  /** Sequences a batch. */
  readonly batch: number
  /** Tokens a sequence, an even number from 4. Default 128. */
  readonly length?: number
  /** Token ids: equally many keys and values, and one mark; from 3. Default 40. */
  readonly vocab?: number
  /**
   * What is learned: `answer`, the value of the queried key at the last position alone; `values`, also the values of keys
   * that came before, wherever they come again; `next`, at every position the token that follows, as H3 trains (it
   * measures the answer alone). Default `answer`.
   */
  readonly loss?: 'answer' | 'values' | 'next'
}

/** How ids are shared out in {@link associativeRecall}: keys [0, keys), values [keys, 2 keys), the mark last. */
export interface RecallVocabulary {
  readonly keys: number
  readonly mark: number
}

/** The ids of {@link associativeRecall} for a vocabulary of a size. */
export function recallVocabulary(vocab = 40): RecallVocabulary {
  checkSizes('recallVocabulary', 3, { vocab })
  return { keys: Math.floor((vocab - 1) / 2), mark: vocab - 1 }
}

/**
 * Draws sequences of pairs `key value key value … mark key`, whose answer is the value of the last key: (b l) ids and
 * labels, labels −1 where nothing is asked. Each sequence gives each key one random value, then draws keys with
 * replacement, so a key that comes again has the value it had; the queried key is one of those that came
 * (Ba et al. 2016, arXiv 1610.06258; in the form of H3, arXiv 2212.14052).
 * @throws RangeError for sizes that are too small or a length that is odd.
 */
export function associativeRecall(options: RecallOptions, rng: Random): TokenBatch {
  const { batch, length = 128, vocab = 40, loss = 'answer' } = options
  checkSizes('associativeRecall', 1, { batch })
  checkSizes('associativeRecall', 4, { length })
  if (length % 2 !== 0) throw new RangeError(`associativeRecall: got length ${length}, want an even number`)
  const { keys, mark } = recallVocabulary(vocab)
  const ids = new Int32Array(batch * length)
  const labels = new Int32Array(batch * length).fill(-1)
  for (let start = 0; start < ids.length; start += length) {
    const values = Int32Array.from({ length: keys }, () => keys + rng.integer(keys))
    const came = new Set<number>()
    for (let at = start; at < start + length - 2; at += 2) {
      const key = rng.integer(keys)
      if (loss === 'values' && came.has(key)) labels[at] = values[key]!
      came.add(key)
      ids[at] = key
      ids[at + 1] = values[key]!
    }
    const last = start + length - 1
    const query = [...came][rng.integer(came.size)]!
    ids[last - 1] = mark
    ids[last] = query
    if (loss === 'next') labels.set(ids.subarray(start + 1, last + 1), start)
    labels[last] = values[query]!
  }
  return { ids: ints([batch, length], ids), labels: ints([batch, length], labels) }
}

/** Options of {@link multiQueryRecall}. */
export interface MultiQueryOptions {
  /** Sequences a batch. */
  readonly batch: number
  /** Tokens a sequence, even and at least 4 pairs. Default 64. */
  readonly length?: number
  /** Pairs at the beginning of a sequence, each asked for once after them. Default 4. */
  readonly pairs?: number
  /** Token ids, more than `length`. Default 8192. */
  readonly vocab?: number
  /** The exponent a of the gaps' law p(g) ∝ a g^(a−1): near 0 queries crowd after the pairs, at 1 they are spread evenly. Default 0.01. */
  readonly power?: number
  /** What stands where there is neither pair nor query: a `random` id of all, or 0. Default `random`. */
  readonly filler?: 'random' | 'zero'
}

/**
 * Draws sequences of multi-query associative recall: (b l) ids and labels. K pairs of different keys 1 … V/2−1 and
 * different values V/2 … V−1 stand first; then each key comes once more, at an even distance from the pairs' end, with
 * its value as the label there; all other labels are −1 (MQAR of Zoology, arXiv 2312.04927).
 * @throws RangeError for sizes that do not fit each other.
 */
export function multiQueryRecall(options: MultiQueryOptions, rng: Random): TokenBatch {
  const { batch, length = 64, pairs = 4, vocab = 8192, power = 0.01, filler = 'random' } = options
  checkMultiQuery({ batch, length, pairs, vocab, power })
  const half = Math.floor(vocab / 2)
  const begin = 2 * pairs
  const weights = gapWeights((length - begin) / 2, power)
  const ids = new Int32Array(batch * length)
  const labels = new Int32Array(batch * length).fill(-1)
  const keys = sampler(half - 1)
  const values = sampler(vocab - half)
  for (let start = 0; start < ids.length; start += length) {
    const gaps = weightedSample(weights, pairs, rng)
    const key = keys(pairs, rng)
    const value = values(pairs, rng)
    for (let i = 0; i < pairs; i++) {
      const query = start + begin + 2 * gaps[i]!
      ids[start + 2 * i] = ids[query] = 1 + key[i]!
      ids[start + 2 * i + 1] = labels[query] = half + value[i]!
    }
    if (filler === 'random') {
      for (let at = start + begin; at < start + length; at++) if (labels[at]! < 0) ids[at] = rng.integer(vocab)
    }
  }
  return { ids: ints([batch, length], ids), labels: ints([batch, length], labels) }
}

function checkMultiQuery(sizes: Readonly<Record<'batch' | 'length' | 'pairs' | 'vocab' | 'power', number>>): void {
  const { power, ...whole } = sizes
  checkSizes('multiQueryRecall', 1, whole)
  const { length, pairs, vocab } = whole
  const wrong = (what: string) => new RangeError(`multiQueryRecall: ${what}`)
  if (!(power > 0) || !Number.isFinite(power)) throw wrong(`got power ${power}, want a number above 0`)
  if (length % 2 !== 0) throw wrong(`got length ${length}, want an even number`)
  if (length < 4 * pairs) throw wrong(`got length ${length}, want at least ${4 * pairs} for ${pairs} pairs`)
  if (vocab <= length) throw wrong(`got vocab ${vocab}, want more than the length ${length}`)
}

/** p(g) ∝ a g^(a−1) of the gaps g = 1 … space; the index is g − 1. */
function gapWeights(space: number, power: number): Float64Array {
  return Float64Array.from({ length: space }, (_, i) => power * (i + 1) ** (power - 1))
}

/** `count` different indices, one after the other, each in proportion to the weights of those that are left. */
function weightedSample(weights: Float64Array, count: number, rng: Random): Int32Array {
  const left = weights.slice()
  const found = new Int32Array(count)
  let total = left.reduce((sum, weight) => sum + weight, 0)
  for (let i = 0; i < count; i++) {
    let rest = rng.uniform() * total
    let index = -1
    // The last one left is taken where rounding lets `rest` outlive the weights.
    for (let j = 0; j < left.length && rest >= 0; j++) {
      if (left[j] === 0) continue
      index = j
      rest -= left[j]!
    }
    found[i] = index
    total -= left[index]!
    left[index] = 0
  }
  return found
}

/** Draws different integers of [0, n) in random order; far fewer than n, so that what came is drawn again. */
function sampler(n: number): (count: number, rng: Random) => Int32Array {
  const usedIn = new Int32Array(n)
  let call = 0
  return (count, rng) => {
    call += 1
    return Int32Array.from({ length: count }, () => {
      let value = rng.integer(n)
      while (usedIn[value] === call) value = rng.integer(n)
      usedIn[value] = call
      return value
    })
  }
}
