/** The choice of one token after the other: sampling, what was written so far, and when the text ends. */

import type { Random } from '../base/random.ts'
import { checkSampling, likeliestTokens, type Sampling, type ScoredToken, sampleToken } from './sample.ts'

/** How tokens are chosen, and when to stop. */
export interface WriterOptions extends Sampling {
  /** The source of all draws; needed unless the temperature is 0. */
  readonly random?: Random
  /** The most tokens to write; at least 0, default 128. */
  readonly maxTokens?: number
  /** Tokens that end the text, and are not given out. */
  readonly stop?: readonly number[]
  /** How many of the likeliest tokens are given beside each one that is written; at least 0, default 0. */
  readonly alternatives?: number
}

/** A token that was written, and ln of the probability that the model itself gives it. */
export interface WrittenToken extends ScoredToken {
  /** The likeliest tokens in its place, where asked for. */
  readonly alternatives?: readonly ScoredToken[]
}

/** Why a text ended: at a stop token or string, or after the most tokens. */
export type Ending = 'stop' | 'length'

/** Chooses tokens; it keeps what the penalties and `maxTokens` need. */
export interface Writer {
  /** The next token, undefined when the text has ended. @param logSum ln Σ exp of the logits */
  next(logits: Float32Array, logSum: number): WrittenToken | undefined
  /** Why the text ended; undefined while it goes on. */
  ending(): Ending | undefined
}

/** Tokens written where `maxTokens` is not given. */
export const defaultTokens = 128

/**
 * @param where for messages, e.g. `generate`
 * @param prompt tokens that the repetition penalty holds for
 * @throws RangeError when an option is out of range; TypeError when draws need a `random`.
 */
export function createWriter(where: string, prompt: Iterable<number>, options: WriterOptions): Writer {
  checkWriter(where, options)
  const { random, maxTokens = defaultTokens, stop = [], alternatives = 0 } = options
  const seen = new Set(prompt)
  const written = new Map<number, number>()
  let count = 0
  let ending: Ending | undefined = maxTokens === 0 ? 'length' : undefined
  return {
    next(logits, logSum) {
      if (ending) return undefined
      const id = sampleToken(logits, options, { seen, written }, () => random!.uniform())
      if (stop.includes(id)) {
        ending = 'stop'
        return undefined
      }
      seen.add(id)
      written.set(id, (written.get(id) ?? 0) + 1)
      count += 1
      if (count === maxTokens) ending = 'length'
      return {
        id,
        logProbability: logits[id]! - logSum,
        ...(alternatives > 0 && { alternatives: likeliestTokens(logits, alternatives, logSum) }),
      }
    },
    ending: () => ending,
  }
}

function checkWriter(where: string, options: WriterOptions): void {
  const { temperature, random, maxTokens = defaultTokens, alternatives = 0 } = options
  checkSampling(options)
  if (temperature !== 0 && !random) {
    throw new TypeError(`${where}: random is missing, want e.g. random(seed), or temperature 0`)
  }
  for (const [name, value] of Object.entries({ maxTokens, alternatives })) {
    if (!Number.isInteger(value) || value < 0) {
      throw new RangeError(`${where}: ${name}: got ${value}, want a whole number from 0`)
    }
  }
}
