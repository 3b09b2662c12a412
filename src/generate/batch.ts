/** Many texts of one model written at once: sequences join and leave at any step, prompts are read between the steps. */

import { ints } from '../base/array.ts'
import { type Channel, createChannel } from './channel.ts'
import { checkRoom } from './generate.ts'
import { pieceOf } from './pieces.ts'
import type { PrefixCache } from './prefixes.ts'
import { createRowGroup, type RowGroup } from './rowGroup.ts'
import { likeliestTokens } from './sample.ts'
import type { Generator, State } from './state.ts'
import {
  createWriter,
  defaultTokens,
  type Ending,
  type Writer,
  type WriterOptions,
  type WrittenToken,
} from './writer.ts'

/** A text to write. */
export interface BatchRequest extends WriterOptions {
  readonly prompt: ArrayLike<number>
  /** Gives ln p of the prompt's tokens, with `alternatives` beside each. Default false. */
  readonly scorePrompt?: boolean
  /** Takes the text out of the batch; its reason is thrown. */
  readonly signal?: AbortSignal
}

/** A token of the prompt from the second on, where asked for, or one that was written. */
export interface BatchToken extends WrittenToken {
  readonly from: 'prompt' | 'written'
  /** Tokens of the prompt that were known from earlier texts and not read again. */
  readonly known: number
}

/** How a text ended. */
export interface BatchResult extends Pick<BatchToken, 'known'> {
  readonly ending: Ending
}

/** What a batch is doing. */
export interface BatchCounts {
  /** Texts that wait for a place. */
  readonly waiting: number
  /** Texts whose prompt is being read. */
  readonly reading: number
  /** Texts that are being written. */
  readonly writing: number
  /** Since the batch was made: tokens of prompts that were read, that were known, and tokens that were written. */
  readonly readTokens: number
  readonly knownTokens: number
  readonly writtenTokens: number
}

/** Options of {@link createBatch}. */
export interface BatchOptions {
  /** Texts that are read and written at once, others wait; at least 1, default 64. */
  readonly most?: number
  /** Tokens of prompts that are read between two steps of writing; a power of two, default 128. */
  readonly piece?: number
  /** Where states of prompts and finished texts are kept and looked for; default: nowhere. */
  readonly prefixes?: PrefixCache
}

/** Writes many texts at once. */
export interface Batch {
  /**
   * A text's tokens as they are written. It has a place in the queue from the call on, and gives it up when the iteration
   * is left. What it gets is what {@link generate} would give alone, within the rounding of sums in another order.
   * @throws RangeError or TypeError at the call, as {@link generate} does, also for a token outside of the vocabulary.
   */
  write(request: BatchRequest): AsyncGenerator<BatchToken, BatchResult, void>
  counts(): BatchCounts
  /** Ends every text with an error, and resolves when no graph runs any more. */
  close(): Promise<void>
}

/** One text on its way through the batch. */
interface Sequence {
  readonly request: BatchRequest
  readonly prompt: readonly number[]
  readonly writer: Writer
  readonly channel: Channel<BatchToken, BatchResult>
  /** All that was or will be read: the prompt and what was written. */
  readonly ids: number[]
  known: number
  /** Where the state is kept on the way, for a later prompt that begins in the same way. */
  branch: number
  left: boolean
}

/** A shared beginning shorter than this is not worth a state. */
const leastShared = 16

/** Linear layers of all sequences advance as one batch; states with caches only beside others with equally much room. */
export function createBatch(generator: Generator, options: BatchOptions = {}): Batch {
  const { most = 64, piece = 128, prefixes } = options
  if (!Number.isInteger(most) || most < 1)
    throw new RangeError(`createBatch: most: got ${most}, want a whole number from 1`)
  const waiting: Sequence[] = []
  const reading: { readonly sequence: Sequence; state: State }[] = []
  let groups: RowGroup<Sequence>[] = []
  const totals = { readTokens: 0, knownTokens: 0, writtenTokens: 0 }
  let loop: Promise<void> | undefined
  let closed: Error | undefined

  const writing = () => groups.reduce((count, group) => count + group.owners().length, 0)
  const why = ({ left, request }: Sequence): { readonly reason: unknown } | undefined => {
    if (closed) return { reason: closed }
    if (request.signal?.aborted) return { reason: request.signal.reason }
    return left ? { reason: new Error('batch: the text was left') } : undefined
  }
  /** Whether a sequence goes on; one that was aborted is told so. */
  const goesOn = (sequence: Sequence): boolean => {
    const stopped = why(sequence)
    if (stopped) sequence.channel.fail(stopped.reason)
    return !stopped
  }

  const dropStopped = () => {
    const keep = <T>(list: T[], sequenceOf: (item: T) => Sequence) => {
      const kept = list.filter((item) => goesOn(sequenceOf(item)))
      list.splice(0, list.length, ...kept)
    }
    keep(waiting, (sequence) => sequence)
    keep(reading, ({ sequence }) => sequence)
    for (const group of groups) for (const owner of group.owners()) if (!goesOn(owner)) group.remove(owner)
    groups = groups.filter((group) => group.owners().length > 0)
  }

  const admit = () => {
    while (waiting.length > 0 && reading.length + writing() < most) {
      const sequence = waiting.shift()!
      const { prompt, request } = sequence
      const beginning = prompt.slice(0, -1)
      // Tokens that are known have no logits any more, so a prompt to be scored is read from its start.
      const found = request.scorePrompt ? undefined : prefixes?.find(beginning)
      const shared = prefixes?.shared(beginning) ?? 0
      sequence.known = found?.length ?? 0
      sequence.branch = shared - sequence.known >= leastShared ? shared : 0
      totals.knownTokens += sequence.known
      reading.push({ sequence, state: found ? generator.fork(found.state) : generator.start() })
    }
  }

  /** Reads one piece of the prompt that waited longest. The last token is left for the first step of writing. */
  const readPiece = async () => {
    const [entry] = reading
    if (!entry) return
    const { sequence } = entry
    const { prompt, request, branch } = sequence
    const start = entry.state.positions[0]!
    const end = start < branch ? branch : prompt.length - 1
    if (start < end) {
      const ids = prompt.slice(start, start + pieceOf(end - start, piece))
      const logits = request.scorePrompt ? 'all' : 'none'
      const read = await generator.advance(entry.state, ints([1, ids.length], ids), { logits })
      totals.readTokens += ids.length
      entry.state = read.state
      const { vocab } = generator.config
      if (request.scorePrompt) {
        for (const [i, sum] of read.logSums.entries()) {
          pushScore(sequence, start + i + 1, read.logits.data.subarray(i * vocab, (i + 1) * vocab), sum)
        }
      }
    }
    const position = entry.state.positions[0]!
    if (position < prompt.length - 1) {
      if (position === branch) remember(sequence, branch, () => generator.fork(entry.state))
      reading.push(reading.shift()!)
      return
    }
    reading.shift()
    remember(sequence, position, () => generator.fork(entry.state))
    if (sequence.writer.ending()) finish(sequence)
    else join(sequence, entry.state)
  }

  const remember = ({ ids }: Sequence, length: number, stateOf: () => State) => {
    const read = ids.slice(0, length)
    if (prefixes && length > 0 && prefixes.find(read)?.length !== length) prefixes.add(read, stateOf())
  }

  const join = (sequence: Sequence, state: State) => {
    const alone = createRowGroup(generator, sequence, state)
    const group = groups.find((one) => one.key() === alone.key())
    if (group) group.add(sequence, state)
    else groups.push(alone)
  }

  /** Caches that have grown may now have as much room as others. */
  const mergeGroups = () => {
    for (const [i, group] of groups.entries()) {
      const into = groups.slice(0, i).find((one) => one.key() === group.key())
      if (!into) continue
      for (const owner of group.owners()) {
        const state = group.stateOf(owner)
        group.remove(owner)
        into.add(owner, state)
      }
    }
    groups = groups.filter((group) => group.owners().length > 0)
  }

  const step = async (group: RowGroup<Sequence>) => {
    const { logits, logSums } = await group.step(({ ids }) => ids.at(-1)!)
    const { vocab } = generator.config
    for (const { sequence, row } of group.owners().map((owner) => ({ sequence: owner, row: group.rowOf(owner) }))) {
      if (sequence.ids.length === sequence.prompt.length) totals.readTokens += 1
      try {
        const token = sequence.writer.next(logits.data.subarray(row * vocab, (row + 1) * vocab), logSums[row]!)
        if (token) {
          sequence.ids.push(token.id)
          totals.writtenTokens += 1
          sequence.channel.push({ ...token, from: 'written', known: sequence.known })
        }
        if (!sequence.writer.ending()) continue
        const read = sequence.ids.length - (token ? 1 : 0)
        remember(sequence, read, () => group.stateOf(sequence))
        finish(sequence)
      } catch (error) {
        sequence.channel.fail(error)
      }
      group.remove(sequence)
    }
  }

  const pushScore = ({ prompt, channel, request }: Sequence, at: number, logits: Float32Array, sum: number) => {
    const { alternatives = 0 } = request
    const token = { from: 'prompt', id: prompt[at]!, logProbability: logits[prompt[at]!]! - sum, known: 0 } as const
    if (alternatives === 0) channel.push(token)
    else channel.push({ ...token, alternatives: likeliestTokens(logits, alternatives, sum) })
  }

  const finish = ({ channel, writer, known }: Sequence) => channel.end({ ending: writer.ending()!, known })

  const run = async () => {
    for (;;) {
      dropStopped()
      admit()
      if (reading.length === 0 && groups.length === 0) return
      await guarded(reading[0] ? [reading[0].sequence] : [], readPiece)
      mergeGroups()
      for (const group of groups) await guarded(group.owners(), () => step(group))
      groups = groups.filter((group) => group.owners().length > 0)
    }
  }

  /** A failure of the engine ends the texts that it hit, not the batch. */
  const guarded = async (hit: readonly Sequence[], work: () => Promise<void>) => {
    try {
      await work()
    } catch (error) {
      for (const sequence of hit) {
        sequence.channel.fail(error)
        sequence.left = true
      }
    }
  }

  const start = () => {
    loop ??= run().finally(() => {
      loop = undefined
      if (waiting.length > 0) start()
    })
  }

  return {
    write(request) {
      if (closed) throw closed
      const prompt = Array.from(request.prompt)
      const { vocab } = generator.config
      const wrong = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= vocab)
      if (wrong !== undefined) throw new RangeError(`batch: got token ${wrong}, want 0 to ${vocab - 1}`)
      const writer = createWriter('batch', prompt, request)
      checkRoom('batch', generator.limit, 0, prompt.length, request.maxTokens ?? defaultTokens)
      const channel = createChannel<BatchToken, BatchResult>(() => {
        sequence.left = true
      })
      const sequence: Sequence = {
        request,
        prompt,
        writer,
        channel,
        ids: [...prompt],
        known: 0,
        branch: 0,
        left: false,
      }
      waiting.push(sequence)
      start()
      return channel.values()
    },
    counts: () => ({ waiting: waiting.length, reading: reading.length, writing: writing(), ...totals }),
    async close() {
      closed ??= new Error('batch: is closed')
      await loop
      dropStopped()
    },
  }
}
