/** Instruction data: conversations, or prompts with completions, as tokens of which only the answers are learned. */

import type { ChatTemplate, Message } from '../io/chatTemplate.ts'
import type { Source } from '../io/files.ts'
import type { Tokenizer } from '../io/tokenizer.ts'
import { conversationText, lastAnswer } from './answers.ts'
import { at, textLines } from './lines.ts'

/** A conversation, of which what the `assistant` says is learned. */
export interface Conversation {
  readonly messages: readonly Message[]
}

/** A text and its continuation, taken as they stand, without a template; the continuation is learned. */
export interface Completion {
  readonly prompt: string
  readonly completion: string
}

/** One example of instruction data. */
export type Instruction = Conversation | Completion

/** An example with the line that it is from. */
export interface InstructionLine {
  /** From 1. */
  readonly line: number
  /** For messages: file and line. */
  readonly where: string
  readonly instruction: Instruction
}

/**
 * The examples of a file of JSON lines, each with `messages`, or with `prompt` and `completion`; other keys do not count.
 * @throws Error naming file and line for what is neither.
 */
export async function* readInstructions(source: Source, path: string): AsyncGenerator<InstructionLine> {
  for await (const [line, text] of textLines(source, path)) {
    const where = at(source, path, line)
    if (text.trim() !== '') yield { line, where, instruction: instructionOf(parsed(text, where), where) }
  }
}

/** How instructions become tokens. */
export interface InstructionFormat {
  readonly tokenizer: Tokenizer
  /** Needed for conversations. */
  readonly template?: ChatTemplate
  /** Ids before a prompt, e.g. the one that texts begin with; a template writes its own. Default none. */
  readonly beginIds?: readonly number[]
  /** Learn every answer of a conversation, or the last alone. Default `all`. */
  readonly answers?: 'all' | 'last'
  /** The day that a template writes; by default it knows none. */
  readonly date?: Date
}

/** The tokens of an example. */
export interface InstructionTokens {
  readonly ids: Int32Array
  /** 1 for each token that is learned, 0 for what is only read. */
  readonly learned: Uint8Array
}

/**
 * The tokens of an example, with the answers marked. An answer ends with the mark that the template puts after it; a
 * completion with the tokenizer's end of text. Where the template has no `{% generation %}`, an answer is what it adds to
 * the conversation before it; that the text and the tokens before an answer are the same without it is checked, since
 * else the model would learn to answer prompts that it never sees in use.
 * @param where for messages: file and line
 * @throws Error when there is no answer or no template, or the template or the tokenizer writes what stands before an answer
 *   otherwise because of it.
 */
export function encodeInstruction(
  instruction: Instruction,
  format: InstructionFormat,
  where = 'encodeInstruction',
): InstructionTokens {
  return 'messages' in instruction
    ? encodeConversation(instruction, format, where)
    : encodeCompletion(instruction, format, where)
}

/** The text to answer, as a model reads it, and the answer that is wanted: the completion, or the last answer. */
export interface Question {
  readonly prompt: string
  readonly answer: string
}

/** @throws Error as {@link encodeInstruction}. */
export function questionOf(
  instruction: Instruction,
  { template, date }: Pick<InstructionFormat, 'template' | 'date'>,
  where = 'questionOf',
): Question {
  if (!('messages' in instruction)) return { prompt: instruction.prompt, answer: instruction.completion }
  const last = lastAnswer(instruction.messages, where)
  const before = instruction.messages.slice(0, last)
  const prompt = templateOf(template, where).render(before, { addGenerationPrompt: true, ...(date && { date }) })
  const answer = instruction.messages[last]!.content
  if (typeof answer === 'string') return { prompt, answer }
  throw new Error(`${where}: message ${last + 1}: got an answer that is no text, want one to compare with`)
}

const wanted = 'messages, or prompt and completion'

function parsed(line: string, where: string): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    throw new Error(`${where}: is not JSON: ${(error as Error).message}`)
  }
}

function instructionOf(value: unknown, where: string): Instruction {
  const { messages, prompt, completion } = Object(value) as Readonly<Record<string, unknown>>
  if (typeof prompt === 'string' && typeof completion === 'string') return { prompt, completion }
  if (!Array.isArray(messages)) {
    const keys = Object.keys(Object(value)).join(', ').slice(0, 80)
    throw new Error(`${where}: got ${keys || typeof value}, want ${wanted}`)
  }
  messages.forEach((message, i) => {
    const { role, content, tool_calls: calls } = Object(message) as Readonly<Record<string, unknown>>
    if (typeof role === 'string' && (typeof content === 'string' || Array.isArray(content) || Array.isArray(calls)))
      return
    throw new Error(`${where}: message ${i + 1}: got ${JSON.stringify(message)?.slice(0, 80)}, want role and content`)
  })
  return { messages }
}

function encodeCompletion(
  { prompt, completion }: Completion,
  { tokenizer, beginIds = [] }: InstructionFormat,
  where: string,
): InstructionTokens {
  if (completion === '') throw new Error(`${where}: got an empty completion, want a text to learn`)
  const whole = tokenizer.encode(prompt + completion)
  const start = tokensBefore(tokenizer, prompt + completion, prompt.length, whole, where)
  const end = tokenizer.endOfText === undefined ? [] : [tokenizer.endOfText]
  const ids = Int32Array.from([...beginIds, ...whole, ...end])
  return { ids, learned: new Uint8Array(ids.length).fill(1, beginIds.length + start) }
}

function encodeConversation({ messages }: Conversation, format: InstructionFormat, where: string): InstructionTokens {
  const { tokenizer, template } = format
  const marked = conversationText(messages, templateOf(template, where), format, where)
  const ids = tokenizer.encode(marked.text)
  const learned = new Uint8Array(ids.length)
  for (const { start, end } of marked.answers) {
    const first = tokensBefore(tokenizer, marked.text, start, ids, where)
    learned.fill(1, first, endOfAnswer(tokenizer, marked.text, end, ids, where))
  }
  if (learned.includes(1)) return { ids, learned }
  throw new Error(`${where}: the chat template writes no answer, want one to learn`)
}

/** How many tokens stand before a place of the text. @throws Error when they change by what follows. */
function tokensBefore(tokenizer: Tokenizer, text: string, place: number, ids: Int32Array, where: string): number {
  const before = tokenizer.encode(text.slice(0, place))
  const differs = before.findIndex((id, i) => id !== ids[i])
  if (differs < 0) return before.length
  const [alone, inText] = [before, ids].map((all) =>
    JSON.stringify(tokenizer.decode(all.subarray(differs, differs + 1))),
  )
  throw new Error(
    `${where}: the prompt's last tokens change when the answer follows, got ${alone} alone and ${inText} with it; ` +
      'let the prompt end, and the answer begin, where a token does, e.g. move the space between them into the answer',
  )
}

/** The token after an answer. Space at its end that is one token with what follows is left out. */
function endOfAnswer(tokenizer: Tokenizer, text: string, end: number, ids: Int32Array, where: string): number {
  const isStable = (place: number) => tokenizer.encode(text.slice(0, place)).every((id, i) => id === ids[i])
  let place = end
  while (/\s/.test(text[place - 1] ?? '') && !isStable(place)) place -= 1
  return tokensBefore(tokenizer, text, place, ids, where)
}

function templateOf(template: ChatTemplate | undefined, where: string): ChatTemplate {
  if (template) return template
  throw new Error(
    `${where}: messages need a chat template, got none; add chat_template.jinja to the model, or give prompt and completion`,
  )
}
