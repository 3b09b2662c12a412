/** A model that writes, with the points of its texts that can be gone on from. */

import { attentionOf, planName } from '../../attention/plan.ts'
import { sizeOf } from '../../base/array.ts'
import { random } from '../../base/random.ts'
import { type Point, say, startConversation } from '../../generate/conversation.ts'
import type { GeneratedToken } from '../../generate/generate.ts'
import { createGenerator, stateBytes } from '../../generate/state.ts'
import type { TextPiece } from '../../generate/textWriter.ts'
import { type WriteTextOptions, type WrittenText, writeText } from '../../generate/writeText.ts'
import { plainTemplate } from '../../io/chatPlain.ts'
import type { Model, ModelConfig } from '../../models/model.ts'
import type { Writing } from '../../models/writing.ts'
import type { Device } from '../../runtime/device.ts'
import type { ChatNews, MemorySizes, Met, Said, Wish } from './types.ts'

/** Points that can be gone back to; each holds a state. */
const mostPoints = 24

/** One model and what was written with it. */
export interface Session {
  readonly met: Met
  /** @throws RangeError when the text is empty or full, or the point is too long ago. */
  write(wish: Omit<Wish, 'device' | 'model' | 'choice'>, signal: AbortSignal): AsyncGenerator<ChatNews, Said, void>
  dispose(): Promise<void>
}

/** @param clock seconds on a steady clock */
export function openSession(device: Device, writing: Writing, clock: () => number): Session {
  const { model, tokenizer, template, endIds, templateStops, beginIds } = writing
  const generator = createGenerator(device, model)
  const talks = template !== plainTemplate
  const decode = (ids: readonly number[]) => tokenizer.decode(ids)
  const speaker = { generator, encode: tokenizer.encode, decode, template, endIds, stopTexts: templateStops }
  const points = new Map<number, Point>([[0, { ...startConversation(generator), unread: talks ? [] : beginIds }]])
  const cacheBytesPerToken = cacheBytes(model.config)
  let nextPoint = 1

  const memoryOf = (state: Point['state']): MemorySizes => ({
    tokens: state.positions[0]!,
    stateBytes: stateBytes(state),
    cacheBytesPerToken,
  })

  const keep = (point: Point): number => {
    const id = nextPoint++
    points.set(id, point)
    // The beginning stays.
    if (points.size > mostPoints) points.delete([...points.keys()][1]!)
    return id
  }

  /** Goes on with a text as it stands. */
  async function* complete(
    point: Point,
    text: string,
    options: WriteTextOptions,
  ): AsyncGenerator<
    TextPiece<GeneratedToken>,
    { readonly point: Point; readonly ending: WrittenText['ending'] },
    void
  > {
    const ids = [...point.unread, ...tokenizer.encode(text)]
    if (ids.length === 0) throw new RangeError('There is no text to go on from: write the beginning of one.')
    const room = generator.limit - point.state.positions[0]! - ids.length + 1
    if (room < 1) {
      throw new RangeError(`The model has ${generator.limit} positions, and the text needs more: begin a new one.`)
    }
    const written = writeText(generator, decode, ids, {
      ...options,
      maxTokens: Math.min(options.maxTokens ?? room, room),
      state: generator.fork(point.state),
      stop: endIds,
    })
    let all = point.text + text
    for (;;) {
      const next = await written.next()
      if (next.done) {
        const { ending, state, unread } = next.value
        return { point: { messages: [], text: all, state, unread }, ending }
      }
      all += next.value.text
      yield next.value
    }
  }

  return {
    met: {
      attention: [...new Set(model.config.attention.map(planName))].join(', '),
      talks,
      ...(Number.isFinite(generator.limit) && { limit: generator.limit }),
      parameters: parametersOf(model),
      grows: grows(model.config),
      memory: memoryOf(points.get(0)!.state),
    },
    async *write({ from, text, temperature, topP, seed, maxTokens }, signal) {
      const point = points.get(from)
      if (!point)
        throw new RangeError('This point is too long ago to go on from: begin anew, or go on from a later one.')
      if (talks && text.trim() === '') throw new RangeError('There is nothing to answer: write a message.')
      const options = { temperature, topP, maxTokens, signal, random: random(seed).split('page') }
      const run = talks ? say(speaker, point, { role: 'user', content: text }, options) : complete(point, text, options)
      const began = clock()
      let first: number | undefined
      let [written, before] = [0, 0]
      let memory = memoryOf(point.state)
      for (;;) {
        const next = await run.next()
        if (next.done) return { point: keep(next.value.point), ending: next.value.ending }
        const now = clock()
        const last = next.value.tokens.at(-1)?.token
        if (last && first === undefined) {
          first = now
          before = last.state.positions[0]!
        }
        written += next.value.tokens.length
        const read = before - point.state.positions[0]!
        const speed = { read, readSeconds: (first ?? now) - began, written, seconds: now - (first ?? now) }
        // The last piece may be text that was held back, without a token of its own.
        if (last) memory = memoryOf(last.state)
        yield { kind: 'text', text: next.value.text, speed, memory }
      }
    },
    dispose: () => generator.dispose(),
  }
}

/** What a key/value cache of this model would take for one token, in float32 as states are. */
function cacheBytes({ layers, heads, headDim, json }: ModelConfig): number {
  const grouped = Number(json.num_key_value_heads)
  const keyHeads = Number.isInteger(grouped) && grouped > 0 ? grouped : heads
  return 2 * 4 * layers * keyHeads * headDim
}

/** Whether some layer keeps more of a longer text. */
function grows(config: ModelConfig): boolean {
  return config.attention.some((plan) => {
    const memory = attentionOf(plan).memory(config)
    const bytes = (length: number) => stateBytes({ layers: [memory.reserve(memory.empty(1), length)] })
    return bytes(1024) < bytes(4096)
  })
}

function parametersOf({ params }: Model): number {
  return Object.values(params).reduce((sum, { shape }) => sum + sizeOf(shape), 0)
}
