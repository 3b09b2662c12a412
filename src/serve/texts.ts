/** The model's side of a job: a prompt to tokens, tokens to text, and what is wrong with a job in the client's words. */

import { random } from '../base/random.ts'
import type { Batch, BatchToken } from '../generate/batch.ts'
import type { ScoredToken } from '../generate/sample.ts'
import { type TextPiece, textWriter } from '../generate/textWriter.ts'
import type { ChatTemplate } from '../io/chatTemplate.ts'
import type { Tokenizer } from '../io/tokenizer.ts'
import type { EngineSettings, Fault, Job, JobEvent, Prompt, TokenText } from './protocol.ts'

/** What a job needs of an open model. */
export interface TextModel {
  readonly batch: Batch
  readonly tokenizer: Tokenizer
  /** How a conversation is written, and texts that end an answer in this way of writing. */
  readonly template: Pick<ChatTemplate, 'render'>
  readonly templateStops: readonly string[]
  /** Ids that end a text. */
  readonly endIds: readonly number[]
  /** The most positions; Infinity without a limit. */
  readonly limit: number
  readonly vocab: number
}

/** A job that cannot be done, for a reason that the client can mend. */
export class JobFault extends Error {
  override readonly name = 'JobFault'
  readonly fault: Fault
  constructor(fault: Fault) {
    super(fault.message)
    this.fault = fault
  }
}

/** Runs a job. @throws JobFault when it cannot be done; whatever the engine throws. */
export async function* runJob(
  model: TextModel,
  job: Job,
  { mostPrompt, mostTokens }: Pick<EngineSettings, 'mostPrompt' | 'mostTokens'>,
  signal: AbortSignal,
): AsyncGenerator<JobEvent, void, void> {
  const { tokenizer, batch, limit, endIds } = model
  const prompt = promptIds(model, job.prompt)
  const maxTokens = tokensFor(job, prompt.length, Math.min(limit, mostPrompt), limit, mostTokens)
  const scored = job.alternatives !== undefined
  yield { kind: 'begun', promptTokens: prompt.length }
  const written = batch.write({
    ...job.sampling,
    prompt,
    maxTokens,
    random: random(job.seed).split(job.choice),
    stop: job.ignoreEnd ? [] : endIds,
    alternatives: job.alternatives ?? 0,
    scorePrompt: job.echo && scored,
    signal,
  })
  const describe = describer(tokenizer, scored)
  const decode = (ids: readonly number[]) => tokenizer.decode(ids)
  if (job.echo) yield* echoed(decode, prompt, scored ? written : undefined, describe)
  const writer = textWriter<TokenText | undefined>(decode, stopsOf(model, job))
  let count = 0
  for (;;) {
    const next = await written.next()
    if (next.done) {
      yield* pieceEvent(writer.end())
      yield { kind: 'ended', ending: writer.stopped() ? 'stop' : next.value.ending, tokens: count, known: next.value.known }
      return
    }
    count += 1
    yield* pieceEvent(writer.push(next.value.id, scored ? describe(next.value) : undefined))
    if (!writer.stopped()) continue
    await written.return({ ending: 'stop', known: 0 })
    yield { kind: 'ended', ending: 'stop', tokens: count, known: next.value.known }
    return
  }
}

/** The prompt's own text; with scores its tokens too, the first of which has none. */
async function* echoed(
  decode: (ids: readonly number[]) => string,
  prompt: readonly number[],
  scores: AsyncGenerator<BatchToken, unknown, void> | undefined,
  describe: (token: ScoredToken & { readonly alternatives?: readonly ScoredToken[] }) => TokenText,
): AsyncGenerator<JobEvent, void, void> {
  if (!scores) {
    yield { kind: 'piece', text: decode(prompt), tokens: [] }
    return
  }
  const writer = textWriter<TokenText | undefined>(decode)
  const first = { text: decode(prompt.slice(0, 1)), logProbability: null, alternatives: [] }
  yield* pieceEvent(writer.push(prompt[0]!, first))
  for (let i = 1; i < prompt.length; i++) {
    const { value, done } = await scores.next()
    if (done) throw new Error(`echo: got ${i} tokens of a prompt of ${prompt.length}`)
    yield* pieceEvent(writer.push(value.id, describe(value)))
  }
  yield* pieceEvent(writer.end())
}

function* pieceEvent({ text, tokens }: TextPiece<TokenText | undefined>): Generator<JobEvent, void, void> {
  const described = tokens.filter((token) => token !== undefined)
  if (text !== '' || described.length > 0) yield { kind: 'piece', text, tokens: described }
}

function describer(tokenizer: Tokenizer, scored: boolean) {
  const textOf = (id: number) => tokenizer.decode([id])
  return ({ id, logProbability, alternatives = [] }: ScoredToken & { alternatives?: readonly ScoredToken[] }): TokenText => ({
    text: textOf(id),
    logProbability,
    alternatives: scored
      ? alternatives.map((one) => ({ text: textOf(one.id), logProbability: one.logProbability, alternatives: [] }))
      : [],
  })
}

function stopsOf({ templateStops }: TextModel, { prompt, stop }: Job): readonly string[] {
  return 'messages' in prompt ? [...stop, ...templateStops] : stop
}

function promptIds({ tokenizer, template, endIds, vocab }: TextModel, prompt: Prompt): readonly number[] {
  const fault = (message: string, param: string) => new JobFault({ by: 'client', message, param })
  if ('ids' in prompt) {
    const wrong = prompt.ids.find((id) => id >= vocab)
    if (wrong !== undefined) throw fault(`prompt: got token ${wrong}, want 0 to ${vocab - 1}`, 'prompt')
    if (prompt.ids.length === 0) throw fault('prompt: got no tokens, want at least one', 'prompt')
    return prompt.ids
  }
  if ('messages' in prompt) {
    const text = rendered(template, prompt.messages, fault)
    const ids = [...tokenizer.encode(text)]
    if (ids.length === 0) throw fault('messages: the conversation has no text', 'messages')
    return ids
  }
  if (prompt.text !== '') return [...tokenizer.encode(prompt.text)]
  // An empty prompt begins a text: models learned to after the token that ends the one before.
  if (endIds[0] === undefined) throw fault('prompt: got an empty text, and this model has no token to begin with', 'prompt')
  return endIds.slice(0, 1)
}

function rendered(
  template: TextModel['template'],
  messages: Extract<Prompt, { readonly messages: unknown }>['messages'],
  fault: (message: string, param: string) => JobFault,
): string {
  try {
    return template.render(messages, { addGenerationPrompt: true })
  } catch (error) {
    throw fault(`messages: ${(error as Error).message}`, 'messages')
  }
}

/** How many tokens to write, within all limits. */
function tokensFor(job: Job, prompt: number, mostPrompt: number, limit: number, mostTokens: number): number {
  const param = 'messages' in job.prompt ? 'messages' : 'prompt'
  const refuse = (message: string) =>
    new JobFault({ by: 'client', message, param, code: 'context_length_exceeded' })
  if (prompt > mostPrompt) throw refuse(`${param}: got ${prompt} tokens, want at most ${mostPrompt}`)
  const room = limit - prompt + 1
  const maxTokens = job.maxTokens ?? Math.min(mostTokens, room)
  if (maxTokens <= room) return maxTokens
  throw refuse(
    `${param}: ${prompt} tokens of prompt and ${maxTokens} more do not fit into the model's ${limit} positions; ` +
      'ask for fewer tokens or send a shorter prompt',
  )
}
