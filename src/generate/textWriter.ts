/** From written tokens to text with stop strings: which text is certain, and which tokens belong to it. */

import { stopFilter, textStream } from './stream.ts'

/** Text that has become certain, and the tokens that begin in it. */
export interface TextPiece<Token> {
  readonly text: string
  readonly tokens: readonly PlacedToken<Token>[]
}

/** A token and how many characters of text stand before it. */
export interface PlacedToken<Token> {
  readonly start: number
  readonly token: Token
}

/** Takes tokens one at a time. */
export interface TextWriter<Token> {
  push(id: number, token: Token): TextPiece<Token>
  /** What was held back, and tokens without text of their own. */
  end(): TextPiece<Token>
  /** Whether a stop string was written: the text has ended then. */
  stopped(): boolean
  /** Whether all text of all tokens has been given out. */
  settled(): boolean
}

/** @param stops texts that end the text; they are not given out, nor are tokens that begin inside of one. */
export function textWriter<Token>(
  decode: (ids: readonly number[]) => string,
  stops: readonly string[] = [],
): TextWriter<Token> {
  const stream = textStream(decode)
  const filter = stopFilter(stops)
  let held: PlacedToken<Token>[] = []
  let [written, given] = [0, 0]
  let open = false
  const give = (text: string, all: boolean): TextPiece<Token> => {
    given += text.length
    const tokens = held.filter(({ start }) => all || start < given)
    held = held.slice(tokens.length)
    return { text, tokens }
  }
  return {
    push(id, token) {
      held.push({ start: written, token })
      const text = stream.push(id)
      open = text === ''
      written += text.length
      return give(filter.push(text), false)
    },
    end() {
      const rest = filter.push(stream.end())
      return give(rest + filter.end(), !filter.stopped())
    },
    stopped: () => filter.stopped(),
    settled: () => !open && given === written,
  }
}
