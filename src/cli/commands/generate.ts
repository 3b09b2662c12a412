/** The body of `hedgehog generate`: streams text to stdout as it is written, or writes several texts at once. */

import { Interrupted, UsageError } from '../../base/errors.ts'
import { random } from '../../base/random.ts'
import { createBatch } from '../../generate/batch.ts'
import type { GeneratedToken } from '../../generate/generate.ts'
import type { ScoredToken } from '../../generate/sample.ts'
import { createGenerator, type Generator, type State, stateBytes } from '../../generate/state.ts'
import { type PlacedToken, textWriter } from '../../generate/textWriter.ts'
import { defaultTokens, type WriterOptions } from '../../generate/writer.ts'
import { type WrittenText, writeText } from '../../generate/writeText.ts'
import type { Writing } from '../../models/writing.ts'
import { openDevice } from '../../node/device.ts'
import { openWriting } from '../../node/models.ts'
import type { Context, Outcome, Run } from '../command.ts'
import type { Values } from '../options.ts'
import type { generateOptions } from '../optionTables.ts'
import { loadText, saveText } from '../stateFiles.ts'

type Options = Values<typeof generateOptions>

/** What `--json` prints of one text. */
export interface Generated {
  readonly prompt: string
  /** What was written after the prompt. */
  readonly text: string
  /** Why it ended: at a stop token or text, or after --tokens. */
  readonly ending: WrittenText['ending']
  /** Tokens read and written. */
  readonly promptTokens: number
  readonly tokens: number
  /** Seconds until the first token, and from then to the last. */
  readonly promptSeconds: number
  readonly seconds: number
  /** Of the tokens after the first; null when there are none. */
  readonly tokensPerSecond: number | null
  /** The mean of −ln p of the written tokens, by the model itself; null when there are none. */
  readonly meanNegativeLogProbability: number | null
  /** Each token with ln p and the likeliest in its place, with --logprobs. */
  readonly logProbabilities?: readonly TokenLine[]
  /** What the model kept of the text at the end. */
  readonly stateBytes: number
  readonly seed: number
}

interface TokenLine {
  readonly token: string
  readonly logProbability: number
  readonly alternatives: readonly { readonly token: string; readonly logProbability: number }[]
}

/** What is asked for, ready to be written. */
interface Task {
  readonly writing: Writing
  readonly generator: Generator
  readonly prompt: string
  readonly ids: readonly number[]
  readonly state?: State
  readonly options: WriterOptions
  readonly stopTexts: readonly string[]
  readonly logprobs: number | undefined
}

export const run: Run<typeof generateOptions, 'model'> = async (context, { model: folder }, options) => {
  if (options.count > 1 && (options.save || options.load)) {
    throw new UsageError('--count: several texts have no one state; leave out --save and --load, or --count')
  }
  const writing = await openWriting(folder, context)
  const generator = createGenerator(await openDevice(options.device), writing.model)
  try {
    const task = await taskOf(context, options, writing, generator)
    return await (options.count > 1 ? writeSeveral(context, task, options.count) : writeOne(context, task, options))
  } finally {
    await generator.dispose()
  }
}

async function taskOf(context: Context, options: Options, writing: Writing, generator: Generator): Promise<Task> {
  const {
    prompt = '',
    tokens,
    stop: stopTexts = [],
    logprobs,
    device: _,
    save: _s,
    load,
    count: _c,
    ...sampling
  } = options
  const { tokenizer, beginIds, endIds } = writing
  const loaded = load === undefined ? undefined : await loadText(load, writing, generator)
  const encoded = [...tokenizer.encode(prompt)]
  const begin = beginIds.length > 0 ? beginIds : prompt === '' ? endIds.slice(0, 1) : []
  const ids = loaded ? [...loaded.unread, ...encoded] : [...begin, ...encoded]
  // Without --tokens a long prompt leaves fewer than the default.
  const room = Math.max(1, generator.limit - (loaded?.state.positions[0] ?? 0) - ids.length + 1)
  return {
    writing,
    generator,
    prompt,
    ids,
    stopTexts,
    logprobs,
    ...(loaded && { state: loaded.state }),
    options: {
      ...sampling,
      maxTokens: tokens ?? Math.min(defaultTokens, room),
      stop: endIds,
      random: random(context.seed).split('generate'),
      alternatives: logprobs ?? 0,
    },
  }
}

async function writeOne(context: Context, task: Task, { save }: Options): Promise<Outcome> {
  const { writing, generator, ids, prompt } = task
  const { tokenizer } = writing
  const decode = (run: readonly number[]) => tokenizer.decode(run)
  const measured = measure(task)
  const begun = performance.now()
  let [first, last] = [begun, begun]
  const written = writeText(generator, decode, ids, {
    ...task.options,
    stopTexts: task.stopTexts,
    signal: context.signal,
    ...(task.state && { state: task.state }),
  })
  for (;;) {
    const next = await written.next()
    if (next.done) {
      const { ending, state, unread } = next.value
      context.write(measured.tokens() === 0 ? prompt : '')
      if (save !== undefined) await saveText(save, writing, { state, unread, note: null })
      if (ending === 'left') {
        throw new Interrupted(save === undefined ? 'interrupted' : `interrupted; go on from ${save} with --load`)
      }
      const seconds = { promptSeconds: (first - begun) / 1000, seconds: (last - first) / 1000 }
      const value = { ...measured.value(ending), ...seconds, stateBytes: stateBytes(state), seed: context.seed }
      const rate = value.tokens > 1 ? (value.tokens - 1) / value.seconds : null
      return { value: { ...value, tokensPerSecond: rate } satisfies Generated, text: '\n' }
    }
    last = performance.now()
    if (first === begun) {
      first = last
      context.write(prompt)
    }
    measured.add(next.value.text, next.value.tokens)
    context.write(next.value.text)
    // Lets Ctrl-C in between two tokens.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Texts of one prompt with draws of their own, all in one batch; they are shown when all have ended. */
async function writeSeveral(context: Context, task: Task, count: number): Promise<Outcome> {
  const { writing, generator, ids, prompt, stopTexts } = task
  const batch = createBatch(generator, { most: count })
  const begun = performance.now()
  const one = async (_: unknown, index: number) => {
    const measured = measure(task)
    const writer = textWriter<ScoredToken & { alternatives?: readonly ScoredToken[] }>(
      (run) => writing.tokenizer.decode(run),
      stopTexts,
    )
    const draws = task.options.random!.split(index)
    const written = batch.write({ ...task.options, prompt: ids, random: draws, signal: context.signal })
    for (;;) {
      const next = await written.next()
      const piece = next.done ? writer.end() : writer.push(next.value.id, next.value)
      measured.add(piece.text, piece.tokens)
      if (next.done) return measured.value(writer.stopped() ? 'stop' : next.value.ending)
      if (!writer.stopped()) continue
      await written.return({ ending: 'stop', known: 0 })
      return measured.value('stop')
    }
  }
  const texts = await Promise.all(Array.from({ length: count }, one))
  const seconds = (performance.now() - begun) / 1000
  const tokens = texts.reduce((total, text) => total + text.tokens, 0)
  const value = { texts, tokens, seconds, tokensPerSecond: tokens / seconds, seed: context.seed }
  return { value, text: texts.map(({ text }) => `${prompt}${text}`).join('\n\n') }
}

/** Collects one text and its scores. */
function measure({ writing, prompt, ids, logprobs }: Task) {
  let [text, tokens, nats] = ['', 0, 0]
  const lines: TokenLine[] = []
  const lineOf = ({ id, logProbability }: ScoredToken) => ({ token: writing.tokenizer.decode([id]), logProbability })
  return {
    tokens: () => tokens,
    add(piece: string, placed: readonly PlacedToken<ScoredToken & Pick<GeneratedToken, 'alternatives'>>[]) {
      text += piece
      tokens += placed.length
      for (const { token } of placed) {
        nats -= token.logProbability
        if (logprobs !== undefined)
          lines.push({ ...lineOf(token), alternatives: (token.alternatives ?? []).map(lineOf) })
      }
    },
    value: (ending: WrittenText['ending']) => ({
      prompt,
      text,
      ending,
      promptTokens: ids.length,
      tokens,
      meanNegativeLogProbability: tokens > 0 ? nats / tokens : null,
      ...(logprobs !== undefined && { logProbabilities: lines }),
    }),
  }
}
