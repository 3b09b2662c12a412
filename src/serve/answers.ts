/** Bodies of answers, whole and in pieces, as clients of the OpenAI API expect them. */

import type { ScoredText, TokenText } from './protocol.ts'

/** What all bodies of one answer have in common. */
export interface AnswerHead {
  readonly id: string
  /** Seconds since 1970. */
  readonly created: number
  readonly model: string
}

/** One of the texts of an answer, so far. */
export interface AnswerChoice {
  readonly index: number
  readonly text: string
  /** Undefined where no log-probabilities were asked for. */
  readonly tokens?: readonly TokenText[]
  /** Null while the text goes on. */
  readonly ending: 'stop' | 'length' | null
}

/** Numbers of tokens. */
export interface Usage {
  readonly prompt: number
  readonly known: number
  readonly written: number
}

/** How the answers of one kind of request are written. */
export interface AnswerForm {
  readonly idPrefix: string
  whole(head: AnswerHead, choices: readonly AnswerChoice[], usage: Usage): object
  /** What a stream of a choice begins with, where it begins with something. */
  first?(head: AnswerHead, index: number): object
  piece(head: AnswerHead, choice: AnswerChoice): object
  /** The last of a stream where the numbers of tokens were asked for. */
  usage(head: AnswerHead, usage: Usage): object
}

function usageBody({ prompt, known, written }: Usage) {
  return {
    prompt_tokens: prompt,
    completion_tokens: written,
    total_tokens: prompt + written,
    prompt_tokens_details: { cached_tokens: known },
  }
}

const completionBody = (head: AnswerHead, rest: object) => ({ ...head, object: 'text_completion', ...rest })
const chatBody = (head: AnswerHead, object: string, rest: object) => ({ ...head, object, ...rest })

/** The forms by kind of request. */
export const answerForms: Readonly<Record<'completion' | 'chat', AnswerForm>> = {
  completion: {
    idPrefix: 'cmpl-',
    whole: (head, choices, usage) =>
      completionBody(head, { choices: choices.map(completionChoice), usage: usageBody(usage) }),
    piece: (head, choice) => completionBody(head, { choices: [completionChoice(choice)] }),
    usage: (head, usage) => completionBody(head, { choices: [], usage: usageBody(usage) }),
  },
  chat: {
    idPrefix: 'chatcmpl-',
    whole: (head, choices, usage) =>
      chatBody(head, 'chat.completion', { choices: choices.map(chatChoice), usage: usageBody(usage) }),
    first: (head, index) =>
      chatBody(head, 'chat.completion.chunk', {
        choices: [{ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }],
      }),
    piece: (head, { index, text, tokens, ending }) =>
      chatBody(head, 'chat.completion.chunk', {
        choices: [
          {
            index,
            delta: text === '' ? {} : { content: text },
            logprobs: tokens ? { content: tokens.map(chatToken), refusal: null } : null,
            finish_reason: ending,
          },
        ],
      }),
    usage: (head, usage) => chatBody(head, 'chat.completion.chunk', { choices: [], usage: usageBody(usage) }),
  },
}

function completionChoice({ index, text, tokens, ending }: AnswerChoice) {
  return { index, text, logprobs: tokens ? completionScores(tokens) : null, finish_reason: ending }
}

function completionScores(tokens: readonly TokenText[]) {
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logProbability }) => logProbability),
    top_logprobs: tokens.map(topScores),
    text_offset: tokens.map(({ start }) => start),
  }
}

/** Scores by text, the token's own among them; of several tokens with one text the likeliest counts. */
function topScores({ text, logProbability, alternatives }: TokenText): Record<string, number> | null {
  if (logProbability === null) return null
  const scores = new Map<string, number>()
  for (const one of [...alternatives, { text, logProbability }]) {
    scores.set(one.text, Math.max(scores.get(one.text) ?? -Infinity, one.logProbability ?? -Infinity))
  }
  return Object.fromEntries(scores)
}

function chatChoice({ index, text, tokens, ending }: AnswerChoice) {
  return {
    index,
    message: { role: 'assistant', content: text, refusal: null },
    logprobs: tokens ? { content: tokens.map(chatToken), refusal: null } : null,
    finish_reason: ending,
  }
}

function chatToken(token: TokenText) {
  return { ...chatScore(token), top_logprobs: token.alternatives.map(chatScore) }
}

function chatScore({ text, logProbability }: ScoredText) {
  return { token: text, logprob: logProbability, bytes: [...new TextEncoder().encode(text)] }
}
