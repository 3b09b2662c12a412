/** Metrics of language models: how well the next token is predicted, in all, by position, and per byte of text. */

import { checkEach, pairCount } from './pairs.ts'

/** The losses of the tokens that a model was measured on, in any order. */
export interface TokenLosses {
  /** −ln p of each token, in nats. */
  readonly losses: ArrayLike<number>
  /** The place in its sequence that each was predicted from, from 0: at place p the model has read p + 1 tokens. */
  readonly positions: ArrayLike<number>
  /** The UTF-8 bytes of the text that all these tokens stand for. */
  readonly bytes: number
}

/** Positions `from` to `to`, the last included, with the mean over their tokens. */
export interface PositionScore {
  readonly from: number
  readonly to: number
  readonly tokens: number
  /** In nats. */
  readonly loss: number
  readonly perplexity: number
}

/** exp of the mean loss, from 1. @throws RangeError without any token, or for a loss that is no number. */
export function perplexityOf({ losses }: Pick<TokenLosses, 'losses'>): number {
  return Math.exp(total('perplexity', losses) / losses.length)
}

/**
 * Bits per byte of text, from 0: the length to which the model, as a coder, brings a byte. Unlike perplexity it compares
 * models with different tokenizers. Tokens that stand for no text, such as the end of a document, cost bits but add no bytes.
 * @throws RangeError as {@link perplexityOf}, or when there are no bytes.
 */
export function bitsPerByte({ losses, bytes }: Pick<TokenLosses, 'losses' | 'bytes'>): number {
  if (!(Number.isSafeInteger(bytes) && bytes > 0)) {
    throw new RangeError(`bits-per-byte: got ${bytes} bytes of text, want a whole number from 1`)
  }
  return total('bits-per-byte', losses) / Math.LN2 / bytes
}

/**
 * Loss and perplexity by position: whether more context still helps, and how far.
 * @param edges the first position of each bucket, rising from 0; default 0, 1, 2, 4, 8, … Buckets without a token are left out.
 * @throws RangeError without any token, or for bad losses, positions or edges.
 */
export function lossByPosition(
  { losses, positions }: Pick<TokenLosses, 'losses' | 'positions'>,
  edges?: readonly number[],
): PositionScore[] {
  const where = 'perplexity-by-position'
  pairCount(where, losses, positions)
  checkEach(`${where}: positions`, positions, (at) => Number.isSafeInteger(at) && at >= 0, 'a whole number from 0')
  total(where, losses)
  const last = largest(positions)
  const starts = edges ?? doubling(last)
  if (starts[0] !== 0 || starts.some((start, i) => !Number.isSafeInteger(start) || start <= (starts[i - 1] ?? -1))) {
    throw new RangeError(`${where}: got edges ${starts.join(', ')}, want whole numbers that rise from 0`)
  }
  const sums = starts.map(() => ({ loss: 0, tokens: 0 }))
  for (let i = 0; i < losses.length; i++) {
    const own = sums[bucketOf(starts, positions[i]!)]!
    own.loss += losses[i]!
    own.tokens += 1
  }
  return sums.flatMap(({ loss, tokens }, i) => {
    if (tokens === 0) return []
    const to = Math.min(last, (starts[i + 1] ?? Infinity) - 1)
    return [{ from: starts[i]!, to, tokens, loss: loss / tokens, perplexity: Math.exp(loss / tokens) }]
  })
}

function total(where: string, losses: ArrayLike<number>): number {
  if (losses.length === 0) throw new RangeError(`${where}: got no tokens to measure on; give more text`)
  checkEach(`${where}: losses`, losses, Number.isFinite, 'a finite number of nats')
  let sum = 0
  for (let i = 0; i < losses.length; i++) sum += losses[i]!
  return sum
}

function largest(values: ArrayLike<number>): number {
  let most = 0
  for (let i = 0; i < values.length; i++) if (values[i]! > most) most = values[i]!
  return most
}

/** 0, 1, 2, 4, 8, … up to `last`. */
function doubling(last: number): number[] {
  const starts = [0]
  for (let start = 1; start <= last; start *= 2) starts.push(start)
  return starts
}

/** The last start that is not past a position. */
function bucketOf(starts: readonly number[], position: number): number {
  let [low, high] = [0, starts.length - 1]
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (starts[middle]! <= position) low = middle
    else high = middle - 1
  }
  return low
}
