/** Text after a prompt, piece by piece: stop texts, and an end between two tokens that loses nothing. */

import { ints } from '../base/array.ts'
import { type GeneratedToken, type GenerateOptions, generate } from './generate.ts'
import { largestPiece } from './pieces.ts'
import type { Generator, State } from './state.ts'
import { type TextPiece, textWriter } from './textWriter.ts'
import { defaultTokens, type Ending } from './writer.ts'

/** Options of {@link writeText}. */
export interface WriteTextOptions extends GenerateOptions {
  /** Texts that end the text; they are not given out. */
  readonly stopTexts?: readonly string[]
}

/** How a text ended, and from where it can be gone on. */
export interface WrittenText {
  /** `left` when the signal was aborted after the first token. */
  readonly ending: Ending | 'left'
  /** A state that has read the prompt and all that was written up to `unread`. */
  readonly state: State
  readonly unread: readonly number[]
  /** Characters of the text that the state and `unread` stand for: all of it, but for a text that a stop text ended. */
  readonly known: number
}

type Place = Omit<WrittenText, 'ending'>

/**
 * Reads the prompt and writes text until a stop token, a stop text, `maxTokens`, or until the signal is aborted: then what
 * was written stays written.
 * @param decode the text of ids, as a tokenizer gives it
 * @throws the signal's reason when it is aborted before the first token; RangeError and TypeError as {@link generate}.
 */
export async function* writeText(
  generator: Generator,
  decode: (ids: readonly number[]) => string,
  prompt: readonly number[],
  { stopTexts = [], signal, ...options }: WriteTextOptions,
): AsyncGenerator<TextPiece<GeneratedToken>, WrittenText, void> {
  const writer = textWriter<GeneratedToken>(decode, stopTexts)
  const { state: begun, rest } = await readBeginning(generator, prompt, options.state, signal)
  const written = generate(generator, rest, { ...options, state: begun })
  let [count, known] = [0, 0]
  let last: GeneratedToken | undefined
  /** Where the text stood before what may become a stop text, which the conversation after it does not have. */
  let before: Place | undefined
  for (;;) {
    const next = await written.next()
    if (next.done) {
      const piece = writer.end()
      yield piece
      // After the last token that was asked for, the state is the one that it was drawn from.
      const unread = last && next.value === last.state ? [last.id] : []
      const ending = count === (options.maxTokens ?? defaultTokens) ? 'length' : 'stop'
      return { ending, state: next.value, unread, known: known + piece.text.length }
    }
    last = next.value
    count += 1
    const place = { state: last.state, unread: [], known }
    const piece = writer.push(last.id, last)
    if (writer.settled() || writer.stopped()) before = writer.stopped() ? before : undefined
    else if (stopTexts.length > 0) before ??= { ...place, state: generator.fork(last.state) }
    known += piece.text.length
    yield piece
    if (writer.stopped()) return { ending: 'stop', ...(before ?? place) }
    if (!signal?.aborted) continue
    const held = writer.end()
    yield held
    return { ending: 'left', state: last.state, unread: [last.id], known: known + held.text.length }
  }
}

/** Reads all of a prompt but what the first token needs, and looks at the signal in between. */
async function readBeginning(
  generator: Generator,
  prompt: readonly number[],
  start: State | undefined,
  signal: AbortSignal | undefined,
): Promise<{ readonly state: State; readonly rest: readonly number[] }> {
  let state = start ?? generator.start()
  let rest = prompt
  while (rest.length > largestPiece && state.positions[0]! + rest.length <= generator.limit) {
    signal?.throwIfAborted()
    const piece = rest.slice(0, largestPiece)
    ;({ state } = await generator.advance(state, ints([1, piece.length], piece), { logits: 'none' }))
    rest = rest.slice(largestPiece)
  }
  signal?.throwIfAborted()
  return { state, rest }
}
