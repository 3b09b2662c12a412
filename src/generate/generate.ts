/** Writes tokens after a prompt, one after the other. */

import { ints } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { checkSampling, drawToken, logProbability, type Sampling, tokenProbabilities } from './sample.ts'
import type { Generator, State } from './state.ts'

/** Options of {@link generate}. */
export interface GenerateOptions extends Sampling {
  /** The source of all draws; needed unless the temperature is 0. */
  readonly random?: Random
  /** The most tokens to write; at least 0, default 128. */
  readonly maxTokens?: number
  /** Tokens that end the text, and are not given out. */
  readonly stop?: readonly number[]
  /** A state to go on from, which is used up; default: one that has read nothing. */
  readonly state?: State
  /** Looked at before every step; its reason is thrown. */
  readonly signal?: AbortSignal
}

/** A token that was written, and ln of the probability that the model itself gives it. */
export interface GeneratedToken {
  readonly id: number
  readonly logProbability: number
  /** The state that this token was drawn from; it has not read the token, and the next step uses it up. */
  readonly state: State
}

/**
 * Reads the prompt's ids and writes tokens until a stop token or `maxTokens`. Returns the state, which has read the
 * prompt and every token given out but the last one; a stop token is not read either.
 * @throws RangeError when the prompt is empty, an option is out of range, or prompt and tokens do not fit the model's
 *   positions; TypeError when draws need a `random`.
 */
export async function* generate(
  generator: Generator,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken, State, void> {
  const { random, maxTokens = 128, stop = [], signal } = options
  const before = options.state ?? generator.start()
  check(generator, prompt, before, options, maxTokens)
  signal?.throwIfAborted()
  const seen = new Set(Array.from(prompt))
  let { logits, state } = await generator.advance(before, row(Array.from(prompt)))
  for (let count = 0; count < maxTokens; count++) {
    signal?.throwIfAborted()
    const id = drawToken(tokenProbabilities(logits.data, options, seen), random?.uniform() ?? 0)
    if (stop.includes(id)) break
    yield { id, logProbability: logProbability(logits.data, id), state }
    seen.add(id)
    if (count + 1 === maxTokens) break
    signal?.throwIfAborted()
    ;({ logits, state } = await generator.advance(state, row([id])))
  }
  return state
}

function row(ids: readonly number[]) {
  return ints([1, ids.length], ids)
}

function check(
  { limit }: Generator,
  prompt: ArrayLike<number>,
  state: State,
  options: GenerateOptions,
  maxTokens: number,
): void {
  checkSampling(options)
  if (options.temperature !== 0 && !options.random) {
    throw new TypeError('generate: random is missing, want e.g. random(seed), or temperature 0')
  }
  if (!Number.isInteger(maxTokens) || maxTokens < 0) {
    throw new RangeError(`generate: maxTokens: got ${maxTokens}, want a whole number from 0`)
  }
  if (state.batch !== 1) throw new RangeError(`generate: got a state of ${state.batch} sequences, want 1`)
  if (prompt.length === 0) {
    throw new RangeError('generate: got an empty prompt, want at least one token, e.g. the one that texts begin with')
  }
  // The last token that is written is never read.
  const positions = state.position + prompt.length + Math.max(0, maxTokens - 1)
  if (positions > limit) {
    throw new RangeError(
      `generate: ${state.position + prompt.length} tokens of prompt and ${maxTokens} more need ${positions} positions, ` +
        `want at most ${limit}, which the model has embeddings for; ask for fewer tokens or a shorter prompt`,
    )
  }
}
