/** Bodies of completion requests as they are read: checked field by field, nothing ignored that would change the answer. */

import type { Message } from '../io/chatTemplate.ts'
import { RequestFault } from './faults.ts'
import { type Fields, fieldsOf } from './fields.ts'
import type { Job, JobSampling, Prompt } from './protocol.ts'

/** What the server allows. */
export interface RequestLimits {
  /** The name of the only model. */
  readonly model: string
  /** The most tokens that may be asked for. */
  readonly mostTokens: number
  /** The most texts of one request: prompts times choices. */
  readonly mostChoices: number
}

/** A request for texts: one job for each choice. */
export interface TextRequest {
  readonly kind: 'completion' | 'chat'
  readonly jobs: readonly Job[]
  readonly stream: boolean
  /** Whether a stream ends with the numbers of tokens. */
  readonly includeUsage: boolean
}

/** The most likely tokens that may be asked for beside each. */
const mostAlternatives = 20
const mostStops = 16
const mostStopLength = 1000

/** Fields of both kinds of request. */
const shared = [
  'model',
  'max_tokens',
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'repetition_penalty',
  'presence_penalty',
  'frequency_penalty',
  'logit_bias',
  'n',
  'seed',
  'stop',
  'stream',
  'stream_options',
  'ignore_eos',
  'logprobs',
]
/** Fields that say nothing about the answer. */
const harmless = ['user', 'metadata', 'store', 'service_tier', 'safety_identifier', 'prompt_cache_key']
/** Fields that are known, and taken only with the value that means that they are not used. */
const unused: Readonly<Record<string, readonly unknown[]>> = {
  suffix: [''],
  tools: [],
  tool_choice: ['none', 'auto'],
  functions: [],
  function_call: ['none', 'auto'],
  modalities: [],
  parallel_tool_calls: [true, false],
}

/** A body of /v1/completions. @param seed for requests that bring none. @throws RequestFault naming the field at fault. */
export function readCompletion(body: unknown, limits: RequestLimits, seed: number): TextRequest {
  const fields = fieldsOf(body)
  const own = ['prompt', 'best_of', 'echo']
  fields.only(shared, own, harmless, Object.keys(unused))
  const choices = fields.integer('n', 1, limits.mostChoices) ?? 1
  const best = fields.integer('best_of', 1, limits.mostChoices) ?? choices
  if (best !== choices) throw fields.wrong('best_of', `n = ${choices}: texts are not ranked`)
  const alternatives = fields.integer('logprobs', 0, mostAlternatives)
  return requestOf('completion', fields, limits, readPrompts(fields, limits.mostChoices), choices, seed, {
    maxTokens: fields.integer('max_tokens', 0, limits.mostTokens) ?? Math.min(16, limits.mostTokens),
    echo: fields.boolean('echo') ?? false,
    ...(alternatives !== undefined && { alternatives }),
  })
}

/** A body of /v1/chat/completions; otherwise as {@link readCompletion}. */
export function readChat(body: unknown, limits: RequestLimits, seed: number): TextRequest {
  const fields = fieldsOf(body)
  const own = ['messages', 'max_completion_tokens', 'top_logprobs', 'response_format']
  fields.only(shared, own, harmless, Object.keys(unused))
  const choices = fields.integer('n', 1, limits.mostChoices) ?? 1
  const format = fields.object('response_format')
  if (format && format.value('type') !== 'text') throw format.wrong('type', '"text"')
  const scored = fields.boolean('logprobs') ?? false
  const alternatives = fields.integer('top_logprobs', 0, mostAlternatives)
  if (alternatives !== undefined && !scored) throw fields.wrong('top_logprobs', 'logprobs to be true beside it')
  const maxTokens =
    fields.integer('max_completion_tokens', 1, limits.mostTokens) ?? fields.integer('max_tokens', 1, limits.mostTokens)
  return requestOf('chat', fields, limits, [{ messages: readMessages(fields) }], choices, seed, {
    ...(maxTokens !== undefined && { maxTokens }),
    echo: false,
    ...(scored && { alternatives: alternatives ?? 0 }),
  })
}

function requestOf(
  kind: TextRequest['kind'],
  fields: Fields,
  limits: RequestLimits,
  prompts: readonly Prompt[],
  choices: number,
  ownSeed: number,
  rest: Pick<Job, 'echo'> & Partial<Pick<Job, 'maxTokens' | 'alternatives'>>,
): TextRequest {
  checkModel(fields, limits.model)
  checkUnused(fields)
  if (prompts.length * choices > limits.mostChoices) {
    throw fields.wrong('n', `at most ${limits.mostChoices} texts of one request, prompts times n`)
  }
  const seed = fields.integer('seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) ?? ownSeed
  const sampling = readSampling(fields)
  const stop = fields.texts('stop', mostStops, mostStopLength) ?? []
  const ignoreEnd = fields.boolean('ignore_eos') ?? false
  const stream = fields.boolean('stream') ?? false
  const streamOptions = fields.object('stream_options')
  streamOptions?.only(['include_usage', 'include_obfuscation'])
  if (streamOptions && !stream) throw fields.wrong('stream_options', 'stream to be true beside it')
  const jobs = prompts.flatMap((prompt, i) =>
    Array.from({ length: choices }, (_, choice): Job => {
      return { ...rest, prompt, sampling, seed: seed >>> 0, choice: i * choices + choice, stop, ignoreEnd }
    }),
  )
  return { kind, jobs, stream, includeUsage: streamOptions?.boolean('include_usage') ?? false }
}

function checkModel(fields: Fields, model: string): void {
  const name = fields.text('model')
  if (name === undefined) throw fields.wrong('model', JSON.stringify(model))
  if (name === model) return
  const got = JSON.stringify(name.slice(0, 100))
  throw new RequestFault(404, `model: got ${got}, want "${model}", the only one here`, {
    param: 'model',
    code: 'model_not_found',
  })
}

function checkUnused(fields: Fields): void {
  for (const [name, values] of Object.entries(unused)) {
    const value = fields.value(name)
    const isEmpty = Array.isArray(value) && value.length === 0
    if (value !== undefined && !isEmpty && !values.includes(value))
      throw fields.wrong(name, 'none: it is not supported')
  }
}

function readSampling(fields: Fields): JobSampling {
  const bias = readBias(fields)
  const optional = {
    topK: fields.integer('top_k', -1, Number.MAX_SAFE_INTEGER),
    minP: fields.number('min_p', 0, 1),
    repetitionPenalty: fields.number('repetition_penalty', 0.01, 100),
    presencePenalty: fields.number('presence_penalty', -2, 2),
    frequencyPenalty: fields.number('frequency_penalty', -2, 2),
  }
  // As in other servers, top_k 0 and −1 stand for all tokens.
  const given = Object.entries(optional).filter(
    ([name, value]) => value !== undefined && !(name === 'topK' && value < 1),
  )
  const topP = fields.number('top_p', 0, 1) ?? 1
  if (topP === 0) throw fields.wrong('top_p', 'a number above 0 and at most 1')
  return {
    temperature: fields.number('temperature', 0, 2) ?? 1,
    topP,
    ...Object.fromEntries(given),
    ...(bias && { bias }),
  }
}

function readBias(fields: Fields): ReadonlyMap<number, number> | undefined {
  const found = fields.object('logit_bias')
  if (!found) return undefined
  const entries = Object.keys(fields.value('logit_bias') as object).map((key) => {
    const value = /^\d{1,9}$/.test(key) ? found.number(key, -100, 100) : undefined
    if (value === undefined) throw found.wrong(key.slice(0, 60), 'a token id with a number from -100 to 100')
    return [Number(key), value] as const
  })
  if (entries.length > 1000) throw fields.wrong('logit_bias', 'at most 1000 tokens')
  return new Map(entries)
}

const promptWant = 'a text, a list of texts, a list of token ids, or a list of such lists'

function readPrompts(fields: Fields, most: number): Prompt[] {
  const found = fields.value('prompt') ?? ''
  if (typeof found === 'string') return [{ text: found }]
  if (!Array.isArray(found) || found.length === 0) throw fields.wrong('prompt', promptWant)
  if (isIds(found)) return [{ ids: found }]
  if (found.length > most) throw fields.wrong('prompt', `at most ${most} prompts`)
  if (found.every((one) => typeof one === 'string')) return found.map((text) => ({ text }))
  if (found.every((one) => Array.isArray(one) && isIds(one))) return found.map((ids) => ({ ids }))
  throw fields.wrong('prompt', promptWant)
}

function isIds(list: readonly unknown[]): list is number[] {
  return list.length > 0 && list.every((id) => Number.isInteger(id) && Number(id) >= 0 && Number(id) < 2 ** 31)
}

const roles = ['system', 'developer', 'user', 'assistant', 'tool']

function readMessages(fields: Fields): Message[] {
  const list = fields.list('messages', 10_000)
  if (!list) throw fields.wrong('messages', 'a list of messages')
  return list.map((entry, i) => {
    const where = `messages[${i}]`
    const message = fieldsOf(entry, where)
    message.only(['role', 'content', 'name', 'tool_call_id', 'refusal'])
    const role = message.text('role')
    if (role === undefined || !roles.includes(role)) throw message.wrong('role', roles.join(', '))
    const name = message.text('name', 200)
    // The newer name of the same thing, which templates do not know.
    const speaker = role === 'developer' ? 'system' : role
    return { role: speaker, content: contentOf(message, where), ...(name !== undefined && { name }) }
  })
}

/** A text, or the texts of a list of parts after each other. */
function contentOf(message: Fields, where: string): string {
  const found = message.value('content')
  if (typeof found === 'string') return found
  if (!Array.isArray(found)) throw message.wrong('content', 'a text or a list of text parts')
  return found
    .map((entry, i) => {
      const part = fieldsOf(entry, `${where}.content[${i}]`)
      if (part.value('type') !== 'text') throw part.wrong('type', '"text"')
      const text = part.text('text')
      if (text === undefined) throw part.wrong('text', 'a text')
      return text
    })
    .join('')
}
