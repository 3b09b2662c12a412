/** Tokens to batches: shuffled blocks without end to train on, and blocks in order to measure on. */

import { ints, type NDArray } from '../base/array.ts'
import { random } from '../base/random.ts'
import type { Tokenizer } from './tokenizer.ts'

/** Token ids and, at each place, the id that follows it; both int32 of shape (b l). */
export interface TokenBatch {
  readonly ids: NDArray
  readonly labels: NDArray
}

/** Where a stream of batches stands; plain JSON. */
export interface BatchesState {
  readonly epoch: number
  /** Blocks of this epoch that were given out. */
  readonly position: number
  /** The number of tokens it was taken over, so that other data is noticed. */
  readonly tokens: number
}

/** Batches without end, in an order that the seed and the position alone determine. */
export interface Batches {
  next(): TokenBatch
  state(): BatchesState
  /** Goes on where `state` was taken. @throws Error when it is none, or one of other data. */
  restore(state: unknown): void
}

/** The size of batches. */
export interface BatchShape {
  /** Tokens a block. */
  readonly length: number
  /** Blocks a batch. */
  readonly batch: number
}

/** All documents as one row of ids, with the id that ends a document between them where the tokenizer has one. */
export function encodeDocuments(tokenizer: Tokenizer, texts: readonly string[]): Int32Array {
  const end = Int32Array.from(tokenizer.endOfText === undefined ? [] : [tokenizer.endOfText])
  const parts = texts.flatMap((text, i) => (i === 0 ? [tokenizer.encode(text)] : [end, tokenizer.encode(text)]))
  const tokens = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    tokens.set(part, at)
    at += part.length
  }
  return tokens
}

/**
 * Blocks of the tokens in random order, each once an epoch. Every epoch cuts them anew from another first token.
 * @param options.seed determines cuts and order
 * @throws RangeError when the tokens do not fill one batch, with their number and the number needed.
 */
export function batches(tokens: Int32Array, { length, batch, seed }: BatchShape & { readonly seed: number }): Batches {
  checkShape('batches', { length, batch })
  checkEnough('batches', tokens.length, batch * length + 1, `one batch of ${batch} blocks of ${length} tokens`)
  let epoch = 0
  let position = 0
  let order = epochOrder(tokens.length, length, seed, epoch)
  const nextStart = (): number => {
    if (position === order.length) {
      epoch++
      position = 0
      order = epochOrder(tokens.length, length, seed, epoch)
    }
    return order[position++]!
  }
  return {
    next: () => cut(tokens, Array.from({ length: batch }, nextStart), length),
    state: () => ({ epoch, position, tokens: tokens.length }),
    restore(state) {
      const saved = checkedState(state, tokens.length)
      const restored = epochOrder(tokens.length, length, seed, saved.epoch)
      if (saved.position > restored.length) {
        throw new Error(`batches: got position ${saved.position} of ${restored.length} blocks; was the length changed?`)
      }
      epoch = saved.epoch
      position = saved.position
      order = restored
    },
  }
}

/**
 * All whole blocks of the tokens in order, without overlap; the last batch may have fewer blocks.
 * A rest that is shorter than a block is left out.
 * @throws RangeError when there is not one block, with the number of tokens and the number needed.
 */
export function heldOut(tokens: Int32Array, { length, batch }: BatchShape): Iterable<TokenBatch> {
  checkShape('heldOut', { length, batch })
  checkEnough('heldOut', tokens.length, length + 1, `one held-out block of ${length} tokens`)
  const blocks = Math.floor((tokens.length - 1) / length)
  return {
    *[Symbol.iterator]() {
      for (let first = 0; first < blocks; first += batch) {
        const count = Math.min(batch, blocks - first)
        const starts = Array.from({ length: count }, (_, i) => (first + i) * length)
        yield cut(tokens, starts, length)
      }
    },
  }
}

/** The first token of each block of an epoch, in the epoch's order. */
function epochOrder(tokens: number, length: number, seed: number, epoch: number): Int32Array {
  const stream = random(seed).split('batches').split(epoch)
  const spare = tokens - 1 - length
  const offset = stream.integer(Math.min(length, spare + 1))
  const blocks = Math.floor((tokens - 1 - offset) / length)
  return stream.permutation(blocks).map((block) => offset + block * length)
}

function cut(tokens: Int32Array, starts: readonly number[], length: number): TokenBatch {
  const shape = [starts.length, length]
  const ids = new Int32Array(starts.length * length)
  const labels = new Int32Array(starts.length * length)
  for (const [row, start] of starts.entries()) {
    ids.set(tokens.subarray(start, start + length), row * length)
    labels.set(tokens.subarray(start + 1, start + length + 1), row * length)
  }
  return { ids: ints(shape, ids), labels: ints(shape, labels) }
}

function checkShape(where: string, sizes: BatchShape): void {
  for (const [name, size] of Object.entries(sizes)) {
    if (!Number.isInteger(size) || size < 1)
      throw new RangeError(`${where}: got ${name} ${size}, want a whole number from 1`)
  }
}

function checkEnough(where: string, found: number, needed: number, what: string): void {
  if (found >= needed) return
  throw new RangeError(
    `${where}: too little text, got ${found} tokens, want at least ${needed} for ${what}; give more text or a smaller size`,
  )
}

function checkedState(state: unknown, tokens: number): BatchesState {
  const { epoch, position, tokens: saved } = Object(state) as Partial<Record<keyof BatchesState, unknown>>
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  if (!isCount(epoch) || !isCount(position) || !isCount(saved)) {
    throw new Error(`batches: got the state ${JSON.stringify(state)}, want one that state() gave`)
  }
  if (saved !== tokens) {
    throw new Error(
      `batches: got a state over ${saved} tokens, want ${tokens}; resume with the data the run began with`,
    )
  }
  return { epoch, position, tokens: saved }
}
