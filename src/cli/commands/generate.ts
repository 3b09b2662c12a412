/** The body of `hedgehog generate`: streams text to stdout as it is written. */

import { random } from '../../base/random.ts'
import { type GeneratedToken, generate } from '../../generate/generate.ts'
import { createGenerator, stateBytes } from '../../generate/state.ts'
import { type TextStream, textStream } from '../../generate/stream.ts'
import type { Tokenizer } from '../../io/tokenizer.ts'
import type { ModelConfig } from '../../models/model.ts'
import { openDevice } from '../../node/device.ts'
import type { Run } from '../command.ts'
import { openModel } from '../inputs.ts'
import type { generateOptions } from '../optionTables.ts'

/** What `--json` prints. */
export interface Generated {
  readonly prompt: string
  /** What was written after the prompt. */
  readonly text: string
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
  /** What the model kept of the text at the end. */
  readonly stateBytes: number
  readonly seed: number
}

const defaultTokens = 128

export const run: Run<typeof generateOptions, 'model'> = async (context, { model: folder }, options) => {
  const { device, prompt = '', tokens, ...sampling } = options
  const { model, tokenizer } = await openModel(folder, context)
  const stop = endIds(model.config, tokenizer)
  const ids = prompt === '' ? stop.slice(0, 1) : [...tokenizer.encode(prompt)]
  const generator = createGenerator(await openDevice(device), model)
  // Without --tokens a long prompt leaves fewer than the default.
  const room = Math.max(1, generator.limit - ids.length + 1)
  const written = generate(generator, ids, {
    ...sampling,
    maxTokens: tokens ?? Math.min(defaultTokens, room),
    stop,
    random: random(context.seed).split('generate'),
    signal: context.signal,
  })
  const stream = textStream(tokenizer.decode)
  try {
    const value = await writeOut(written, stream, prompt, context.write)
    return { value: { ...value, promptTokens: ids.length, seed: context.seed } satisfies Generated, text: '\n' }
  } finally {
    await generator.dispose()
  }
}

/** Writes the prompt and then each token's text, and measures. */
async function writeOut(
  written: AsyncIterable<GeneratedToken>,
  stream: TextStream,
  prompt: string,
  write: (text: string) => void,
): Promise<Omit<Generated, 'promptTokens' | 'seed'>> {
  let [text, tokens, nats, bytes] = ['', 0, 0, 0]
  const begun = performance.now()
  let [first, last] = [begun, begun]
  for await (const token of written) {
    last = performance.now()
    if (tokens === 0) first = last
    const piece = stream.push(token.id)
    write(tokens === 0 ? prompt + piece : piece)
    text += piece
    tokens += 1
    nats -= token.logProbability
    bytes = stateBytes(token.state)
    // Lets Ctrl-C in between two tokens.
    await new Promise((resolve) => setImmediate(resolve))
  }
  const rest = stream.end()
  write(tokens === 0 ? prompt : rest)
  const seconds = (last - first) / 1000
  return {
    prompt,
    text: text + rest,
    tokens,
    promptSeconds: (first - begun) / 1000,
    seconds,
    tokensPerSecond: tokens > 1 ? (tokens - 1) / seconds : null,
    meanNegativeLogProbability: tokens > 0 ? nats / tokens : null,
    stateBytes: bytes,
  }
}

/** The ids that end a text: what config.json says, within the vocabulary, else what the tokenizer says. */
function endIds({ json, vocab }: ModelConfig, { endOfText }: Tokenizer): number[] {
  const ids = [json.eos_token_id, endOfText].flat()
  return [...new Set(ids)].filter((id): id is number => typeof id === 'number' && id >= 0 && id < vocab)
}
