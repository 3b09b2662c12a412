/** Where in a conversation's text the answers stand, which are what a model learns from it. */

import type { ChatTemplate, Marked, Message, RenderOptions, Span } from '../io/chatTemplate.ts'

/** Options of {@link conversationText}. */
export interface AnswerOptions extends Pick<RenderOptions, 'date'> {
  /** Every answer, or the last alone; then the text ends with it. Default `all`. */
  readonly answers?: 'all' | 'last'
}

/**
 * The text of a conversation with the parts to be learned: what the template itself marks by `{% generation %}`, else what
 * each message of the `assistant` adds to the text before it, up to the mark that ends it.
 * @param where for messages: file and line
 * @throws Error when there is no answer; when the text before an answer depends on it, so that no part can be called the
 *   answer; or when the template fails.
 */
export function conversationText(
  messages: readonly Message[],
  template: ChatTemplate,
  options: AnswerOptions,
  where: string,
): Marked {
  const last = lastAnswer(messages, where)
  if (options.answers === 'last') {
    const upTo = messages.slice(0, last + 1)
    const text = template.render(upTo, options)
    if (!template.marksAnswers) return { text, answers: [answerSpan(upTo, last, text, template, options, where)] }
    return { text, answers: template.renderMarked(upTo, options).answers.slice(-1) }
  }
  if (template.marksAnswers) return template.renderMarked(messages, options)
  const text = template.render(messages, options)
  const answers = messages.flatMap(({ role }, i) =>
    role === assistant ? [answerSpan(messages, i, text, template, options, where)] : [],
  )
  return { text, answers }
}

/** The number of the last message that is an answer, from 0. @throws Error when there is none. */
export function lastAnswer(messages: readonly Message[], where: string): number {
  const last = messages.findLastIndex(({ role }) => role === assistant)
  if (last >= 0) return last
  const roles = messages.map(({ role }) => role).join(', ')
  throw new Error(`${where}: got messages of ${roles || 'nobody'}, want one of the ${assistant}, which is learned`)
}

const assistant = 'assistant'

/** What message `i` adds to the text of those before it. */
function answerSpan(
  messages: readonly Message[],
  i: number,
  text: string,
  template: ChatTemplate,
  options: RenderOptions,
  where: string,
): Span {
  const opened = template.render(messages.slice(0, i), { ...options, addGenerationPrompt: true })
  const closed = template.render(messages.slice(0, i + 1), options)
  if (!closed.startsWith(opened)) throw unsteady(where, i, 'begins it another way than it asks for it', opened, closed)
  if (!text.startsWith(closed)) throw unsteady(where, i, 'writes it otherwise when others follow', closed, text)
  return { start: opened.length, end: opened.length + withEndMark(closed.slice(opened.length), messages[i]!).length }
}

/** Without the space after an end mark; where nothing but space ends an answer, that is its end mark. */
function withEndMark(answer: string, { content }: Message): string {
  const said = typeof content === 'string' ? content.trimEnd() : ''
  const hasMark = said === '' || !answer.trimEnd().endsWith(said)
  return hasMark ? answer.trimEnd() : answer
}

function unsteady(where: string, i: number, what: string, wanted: string, got: string): Error {
  let same = 0
  while (same < wanted.length && wanted[same] === got[same]) same += 1
  const shown = (text: string) => JSON.stringify(text.slice(Math.max(0, same - 10), same + 30))
  return new Error(
    `${where}: message ${i + 1}: the chat template ${what}, got ${shown(got)}, want ${shown(wanted)}; ` +
      'learn the last answers alone, or mark answers in the template by {% generation %}',
  )
}
