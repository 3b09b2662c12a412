/** Conversations as points between messages, each with its state: to edit or ask again goes back to a point, and reads no more. */

import type { ChatTemplate, Message } from '../io/chatTemplate.ts'
import type { GeneratedToken } from './generate.ts'
import type { Generator, State } from './state.ts'
import type { TextPiece } from './textWriter.ts'
import { type WriteTextOptions, type WrittenText, writeText } from './writeText.ts'

/** A conversation up to the end of a message. It is never changed: any number of others may go on from it. */
export interface Point {
  readonly messages: readonly Message[]
  /** What the model has been told, as text. */
  readonly text: string
  /** A state that has read `text` but for `unread`. */
  readonly state: State
  readonly unread: readonly number[]
}

/** Who speaks and how. */
export interface Speaker {
  readonly generator: Generator
  readonly encode: (text: string) => ArrayLike<number>
  readonly decode: (ids: readonly number[]) => string
  readonly template: Pick<ChatTemplate, 'render'>
  /** Ids that end an answer. */
  readonly endIds: readonly number[]
  /** Texts that end an answer. */
  readonly stopTexts: readonly string[]
}

/** What an answer leads to. */
export interface Answered {
  readonly point: Point
  readonly ending: WrittenText['ending']
  /** Tokens that were read before the answer: of the new message alone, where the text goes on from the point's. */
  readonly read: number
}

/** A conversation without a message. */
export function startConversation(generator: Generator, messages: readonly Message[] = []): Point {
  return { messages, text: '', state: generator.start(), unread: [] }
}

/**
 * Says something and writes the answer. The point stays as it is; the one that is returned has the message and the answer,
 * also where it was left before its end.
 * @throws Error when the template refuses the messages; RangeError when there is no room for an answer.
 */
export async function* say(
  speaker: Speaker,
  point: Point,
  message: Message,
  options: Omit<WriteTextOptions, 'state' | 'stop' | 'stopTexts'>,
): AsyncGenerator<TextPiece<GeneratedToken>, Answered, void> {
  const { generator, encode, decode, template, endIds, stopTexts } = speaker
  const asked = [...point.messages, message]
  const text = template.render(asked, { addGenerationPrompt: true })
  // A template may write older messages in another way than they were told; then all is read again.
  const goesOn = text.startsWith(point.text)
  const ids = goesOn
    ? [...point.unread, ...Array.from(encode(text.slice(point.text.length)))]
    : Array.from(encode(text))
  const state = goesOn ? generator.fork(point.state) : generator.start()
  const room = Math.max(1, generator.limit - state.positions[0]! - ids.length + 1)
  const written = writeText(generator, decode, ids, {
    ...options,
    maxTokens: Math.min(options.maxTokens ?? room, room),
    state,
    stop: endIds,
    stopTexts,
  })
  let answer = ''
  for (;;) {
    const next = await written.next()
    if (next.done) {
      const { ending, known, ...after } = next.value
      const messages = [...asked, { role: 'assistant', content: answer.trim() }]
      return { point: { messages, text: text + answer.slice(0, known), ...after }, ending, read: ids.length }
    }
    answer += next.value.text
    yield next.value
  }
}
