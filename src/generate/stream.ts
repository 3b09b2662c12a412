/** Text from tokens as they come: whole characters only, and up to the first stop string. */

/** Takes ids one at a time and gives out the text that has become certain. */
export interface TextStream {
  /** The text that this token completes, `''` while a character is only begun. */
  push(id: number): string
  /** What is left: the replacement character for bytes that never became one. */
  end(): string
}

const unfinished = '\uFFFD'
/** No character is longer than four bytes, so a token that is still open after these bytes never becomes one. */
const mostPending = 16

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
      if (out === '' || (out.endsWith(unfinished) && pending.length < mostPending)) return ''
      ;[context, pending] = [pending, []]
      return out
    },
    end: () => (pending.length ? text() : ''),
  }
}

/** Text up to the first stop string, given out as soon as it cannot be the beginning of one. */
export interface StopFilter {
  /** What is certain after one more piece; `''` once the text has ended. */
  push(text: string): string
  /** What was held back; `''` when a stop string was found. */
  end(): string
  /** Whether a stop string was found. */
  stopped(): boolean
}

/**
 * However the text is cut into pieces, the same comes out: all before the stop string that is complete first, of two
 * that end together the longer one.
 * @throws RangeError for an empty stop string.
 */
export function stopFilter(stops: readonly string[]): StopFilter {
  if (stops.includes('')) throw new RangeError('stopFilter: got an empty stop string, want at least one character')
  let held = ''
  let stopped = false
  return {
    push(text) {
      if (stopped) return ''
      held += text
      const found = firstComplete(held, stops)
      stopped = found !== undefined
      const end = found ?? held.length - Math.max(0, ...stops.map((stop) => begun(held, stop)))
      const out = held.slice(0, end)
      held = held.slice(end)
      return out
    },
    end: () => (stopped ? '' : held),
    stopped: () => stopped,
  }
}

/** Where the stop string begins that ends first. */
function firstComplete(text: string, stops: readonly string[]): number | undefined {
  const found = stops.flatMap((stop) => {
    const start = text.indexOf(stop)
    return start < 0 ? [] : [{ start, end: start + stop.length }]
  })
  return found.sort((a, b) => a.end - b.end || a.start - b.start)[0]?.start
}

/** How many characters at the end of a text begin a stop string. */
function begun(text: string, stop: string): number {
  let length = Math.min(text.length, stop.length - 1)
  while (length > 0 && !text.endsWith(stop.slice(0, length))) length -= 1
  return length
}
