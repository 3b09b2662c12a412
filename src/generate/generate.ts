/** Writes tokens after a prompt, one after the other. */

import { ints } from '../base/array.ts'
import type { Generator, State } from './state.ts'
import { createWriter, defaultTokens, type WriterOptions, type WrittenToken } from './writer.ts'

/** Options of {@link generate}. */
export interface GenerateOptions extends WriterOptions {
  /** A state to go on from, which is used up; default: one that has read nothing. */
  readonly state?: State
  /** Looked at before every step; its reason is thrown. */
  readonly signal?: AbortSignal
}

/** A token that was written. */
export interface GeneratedToken extends WrittenToken {
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
  const { maxTokens = defaultTokens, signal } = options
  const before = options.state ?? generator.start()
  const ids = Array.from(prompt)
  const writer = createWriter('generate', ids, options)
  if (before.positions.length !== 1) {
    throw new RangeError(`generate: got a state of ${before.positions.length} sequences, want 1`)
  }
  checkRoom('generate', generator.limit, before.positions[0]!, ids.length, maxTokens)
  signal?.throwIfAborted()
  let { logits, logSums, state } = await generator.advance(before, row(ids))
  for (;;) {
    signal?.throwIfAborted()
    const token = writer.next(logits.data, logSums[0]!)
    if (!token) return state
    yield { ...token, state }
    if (writer.ending()) return state
    signal?.throwIfAborted()
    ;({ logits, logSums, state } = await generator.advance(state, row([token.id])))
  }
}

/**
 * Checks that a prompt and the tokens after it fit a model's positions.
 * @throws RangeError when they do not, or the prompt is empty.
 */
export function checkRoom(where: string, limit: number, position: number, prompt: number, maxTokens: number): void {
  if (prompt === 0) {
    throw new RangeError(`${where}: got an empty prompt, want at least one token, e.g. the one that texts begin with`)
  }
  // The last token that is written is never read.
  const positions = position + prompt + Math.max(0, maxTokens - 1)
  if (positions > limit) {
    throw new RangeError(
      `${where}: ${position + prompt} tokens of prompt and ${maxTokens} more need ${positions} positions, ` +
        `want at most ${limit}, which the model has embeddings for; ask for fewer tokens or a shorter prompt`,
    )
  }
}

function row(ids: readonly number[]) {
  return ints([1, ids.length], ids)
}
