/** The model's side of a job: a prompt to tokens, tokens to text, and what is wrong with a job in the client's words. */

import { random } from '../base/random.ts'
import type { Batch, BatchToken } from '../generate/batch.ts'
import type { ScoredToken } from '../generate/sample.ts'
import { type TextPiece, type TextWriter, textWriter } from '../generate/textWriter.ts'
import type { ChatTemplate } from '../io/chatTemplate.ts'
import type { Tokenizer } from '../io/tokenizer.ts'
import type { EngineSettings, Fault, Job, JobEvent, Prompt, ScoredText, TokenText } from './protocol.ts'

/** What a job needs of an open model. */
export interface TextModel {
  readonly batch: Batch
  readonly tokenizer: Tokenizer
  /** How a conversation is written, and texts that end an answer in this way of writing. */
  readonly template: Pick<ChatTemplate, 'render'>
  readonly templateStops: readonly string[]
  /** Ids that stand before every text, and that end one. */
  readonly beginIds: readonly number[]
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
  for (const id of job.sampling.bias?.keys() ?? []) {
    if (id >= model.vocab) {
      const message = `logit_bias: got token ${id}, want 0 to ${model.vocab - 1}`
      throw new JobFault({ by: 'client', message, param: 'logit_bias' })
    }
  }
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
  const describe = scored ? describer(tokenizer) : () => undefined
  const decode = (ids: readonly number[]) => tokenizer.decode(ids)
  let start = 0
  if (job.echo) start = yield* echoed(decode, prompt, scored ? written : undefined, describe)
  const writer: Described = textWriter(decode, stopsOf(model, job))
  for (let count = 1; ; count++) {
    const next = await written.next()
    if (next.done) {
      yield* pieceEvent(writer.end(), start)
      const { ending, known } = next.value
      yield { kind: 'ended', ending: writer.stopped() ? 'stop' : ending, tokens: count - 1, known }
      return
    }
    const { id, known } = next.value
    yield* pieceEvent(writer.push(id, describe(next.value)), start)
    if (!writer.stopped()) continue
    await written.return({ ending: 'stop', known })
    yield { kind: 'ended', ending: 'stop', tokens: count, known }
    return
  }
}

/** A token as it is told of, but for its place; undefined where nobody asked for scores. */
type Description = Omit<TokenText, 'start'> | undefined
type Described = TextWriter<Description>
type Describe = (token: ScoredToken & { readonly alternatives?: readonly ScoredToken[] }) => Description

/** The prompt's own text; with scores its tokens too, the first of which has none. Returns the length of the text. */
async function* echoed(
  decode: (ids: readonly number[]) => string,
  prompt: readonly number[],
  scores: AsyncGenerator<BatchToken, unknown, void> | undefined,
  describe: Describe,
): AsyncGenerator<JobEvent, number, void> {
  const writer: Described = textWriter(decode)
  let length = 0
  const give = function* (piece: TextPiece<Description>) {
    length += piece.text.length
    yield* pieceEvent(piece, 0)
  }
  for (const [i, id] of prompt.entries()) {
    const score = i > 0 ? await scores?.next() : undefined
    const first = { text: decode([id]), logProbability: null, alternatives: [] }
    const token = score && !score.done ? describe(score.value) : first
    yield* give(writer.push(id, scores && token))
  }
  yield* give(writer.end())
  return length
}

function* pieceEvent({ text, tokens }: TextPiece<Description>, before: number): Generator<JobEvent, void, void> {
  const told = tokens.flatMap(({ start, token }) => (token ? [{ ...token, start: before + start }] : []))
  if (text !== '' || told.length > 0) yield { kind: 'piece', text, tokens: told }
}

function describer(tokenizer: Tokenizer): Describe {
  const scored = ({ id, logProbability }: ScoredToken): ScoredText => ({ text: tokenizer.decode([id]), logProbability })
  return (token) => ({ ...scored(token), alternatives: (token.alternatives ?? []).map(scored) })
}

function stopsOf({ templateStops }: TextModel, { prompt, stop }: Job): readonly string[] {
  return 'messages' in prompt ? [...stop, ...templateStops] : stop
}

function promptIds({ tokenizer, template, beginIds, endIds, vocab }: TextModel, prompt: Prompt): readonly number[] {
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
  if (prompt.text !== '') return withBegin(beginIds, tokenizer.encode(prompt.text))
  if (beginIds.length > 0) return beginIds
  // An empty prompt begins a text: models learned to after the token that ends the one before.
  if (endIds[0] === undefined)
    throw fault('prompt: got an empty text, and this model has no token to begin with', 'prompt')
  return endIds.slice(0, 1)
}

/** A text that was written with its first token gets no second one. */
function withBegin(beginIds: readonly number[], ids: Int32Array): number[] {
  return beginIds.every((id, i) => id === ids[i]) ? [...ids] : [...beginIds, ...ids]
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
  const refuse = (message: string) => new JobFault({ by: 'client', message, param, code: 'context_length_exceeded' })
  if (prompt > mostPrompt) throw refuse(`${param}: got ${prompt} tokens, want at most ${mostPrompt}`)
  const room = limit - prompt + 1
  const maxTokens = job.maxTokens ?? Math.min(mostTokens, room)
  if (maxTokens <= room) return maxTokens
  throw refuse(
    `${param}: ${prompt} tokens of prompt and ${maxTokens} more do not fit into the model's ${limit} positions; ` +
      'ask for fewer tokens or send a shorter prompt',
  )
}
