/** Text from tokens as they come: a character whose bytes are spread over several tokens is given out whole. */

/** Takes ids one at a time and gives out the text that has become certain. */
export interface TextStream {
  /** The text that this token completes, `''` while a character is only begun. */
  push(id: number): string
  /** What is left: the replacement character for bytes that never became one. */
  end(): string
}

const unfinished = '\uFFFD'

/** @param decode the text of a run of ids, with U+FFFD for bytes that are no whole character. */
export function textStream(decode: (ids: readonly number[]) => string): TextStream {
  // Decoded with the tokens before it, since some tokenizers drop the space before the first token.
  let context: readonly number[] = []
  let pending: readonly number[] = []
  const text = () => decode([...context, ...pending]).slice(context.length ? decode(context).length : 0)
  return {
    push(id) {
      pending = [...pending, id]
      const out = text()
      if (out === '' || out.endsWith(unfinished)) return ''
      ;[context, pending] = [pending, []]
      return out
    },
    end: () => (pending.length ? text() : ''),
  }
}
