/** Reads tokens into a state and gives the logits of the next: prefill in pieces, then one position at a time. */

import type { Kept } from '../attention/memory.ts'
import { attentionOf } from '../attention/plan.ts'
import { type FloatArray, floats, type NDArray } from '../base/array.ts'
import { familyOf } from '../models/families.ts'
import type { Model, ModelConfig } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import { alongPositions, lastPosition, piecesOf } from './pieces.ts'
import { createReader, type ReaderOptions } from './reader.ts'
import { copied, rowOf, settledBytes, shapeKey, stacked, withRoom } from './rows.ts'
import type { Logits } from './traced.ts'

/** All that a model keeps of the tokens it has read: one memory per layer. */
export interface State {
  /** Tokens read so far, by each of the sequences that are read side by side. */
  readonly positions: readonly number[]
  readonly layers: readonly Kept[]
}

/** What {@link Generator.advance} gives: logits (b v) after the last token; (b·l v) after every one, or (0 v), if asked for. */
export interface Advanced extends Logits {
  /** The state that has read the tokens. */
  readonly state: State
}

/** Options of {@link Generator.advance}. */
export interface AdvanceOptions {
  /** After which tokens the logits are given. Default `last`. */
  readonly logits?: 'last' | 'all' | 'none'
}

/** A model that reads token by token. Linear layers keep a state of constant size, softmax layers all keys and values. */
export interface Generator {
  readonly config: ModelConfig
  /** The most positions that a state can hold; Infinity where neither embeddings nor feature maps depend on them. */
  readonly limit: number
  /** A state that has read nothing. @param batch sequences side by side, default 1. */
  start(batch?: number): State
  /**
   * Reads ids (b l) after all that the state has read. The state given is used up, as its arrays are written over;
   * {@link Generator.fork} it before to go on from it twice.
   * @throws RangeError when the shape or an id does not fit, or past {@link Generator.limit}: the state is then unchanged.
   * @throws Error when the state is used up already.
   */
  advance(state: State, ids: NDArray, options?: AdvanceOptions): Promise<Advanced>
  /** A state that goes on independently; it copies only what is written over. @throws Error when the state is used up. */
  fork(state: State): State
  /**
   * One state of all sequences of others, which need not have read equally much. They are used up.
   * @throws RangeError without any, or when caches of softmax attention have unequal room; Error when one is used up.
   */
  join(states: readonly State[]): State
  /** The sequences of a state as states of their own. It is used up. @throws Error when it is already. */
  split(state: State): State[]
  /**
   * A state from arrays that were kept elsewhere, over the arrays themselves.
   * @throws RangeError naming the array that is not what this model keeps after so many positions.
   */
  restore(position: number, layers: readonly Kept[]): State
  /** Frees the compiled functions. */
  dispose(): Promise<void>
}

/**
 * Prepares a model for generation.
 * @throws TypeError when the model is not causal.
 */
export function createGenerator(device: Device, model: Model, options: ReaderOptions = {}): Generator {
  const { config } = model
  if (!config.causal) {
    throw new TypeError(`createGenerator: ${config.family} sees later tokens, want a causal model to generate with`)
  }
  const family = familyOf(config)
  const embedded = family.lookups.some(({ by }) => by === 'positions') ? config.maxLength : Infinity
  const limit = Math.min(embedded, ...config.attention.map((plan) => attentionOf(plan).positions ?? Infinity))
  const reader = createReader(device, model, options)
  const { layers } = reader
  const used = new WeakSet<State>()
  const use = (where: string, state: State) => {
    if (used.has(state)) throw new Error(`${where}: this state is used up; go on from its successor, or fork it before`)
    return state
  }

  return {
    config,
    limit,
    start: (batch = 1) => ({
      positions: Array(batch).fill(0),
      layers: layers.map(({ memory }) => memory.empty(batch)),
    }),
    async advance(state, ids, { logits = 'last' } = {}) {
      use('advance', state)
      checkIds(config, state, ids, limit)
      used.add(state)
      let kept: readonly Kept[] = layers.map(({ rows }, layer) =>
        rows.reserve(state.layers[layer]!, state.positions, ids.shape[1]!),
      )
      let { positions } = state
      if (ids.shape[1] === 1 && logits !== 'none') {
        const done = await reader.step(kept, positions, ids)
        return { ...done, state: { positions: positions.map((position) => position + 1), layers: done.kept } }
      }
      const streams: FloatArray[] = []
      for (const piece of piecesOf(ids)) {
        const done = await reader.read(kept, positions, piece)
        kept = done.kept
        positions = positions.map((position) => position + piece.shape[1]!)
        if (logits !== 'all') streams.length = 0
        streams.push(done.x)
      }
      const next = { positions, layers: kept }
      if (logits === 'none') return { logits: floats([0, config.vocab]), logSums: new Float32Array(0), state: next }
      const x = logits === 'all' ? alongPositions(streams) : lastPosition(streams.at(-1)!)
      return { ...(await reader.logits(x)), state: next }
    },
    fork(state) {
      use('fork', state)
      return { ...state, layers: reader.fork(state.layers) }
    },
    join(states) {
      if (states.length === 0) throw new RangeError('join: got no states, want at least one')
      for (const state of states) use('join', state)
      const most = Math.max(...states.flatMap(({ positions }) => positions))
      // Caches of softmax attention get room for the longest sequence.
      const roomy = states.map((state) =>
        layers.map(({ memory }, layer) => withRoom(memory, memory.reserve(state.layers[layer]!, most))),
      )
      const [shape, ...others] = roomy.map(shapeKey)
      const other = others.find((one) => one !== shape)
      if (other !== undefined) throw new RangeError(`join: got memories ${shape} and ${other}, want equal shapes`)
      for (const state of states) used.add(state)
      const rowsOf = (layer: number) =>
        states.flatMap(({ positions }, i) => positions.map((_, row) => rowOf(roomy[i]![layer]!, row)))
      return {
        positions: states.flatMap(({ positions }) => positions),
        layers: layers.map((_, layer) => stacked(rowsOf(layer))),
      }
    },
    split(state) {
      used.add(use('split', state))
      return state.positions.map((position, row) => ({
        positions: [position],
        layers: state.layers.map((kept) => copied(rowOf(kept, row))),
      }))
    },
    restore(position, kept) {
      if (kept.length !== layers.length) {
        throw new RangeError(`restore: got ${kept.length} layers, want ${layers.length}`)
      }
      if (!Number.isInteger(position) || position < 0 || position > limit) {
        throw new RangeError(`restore: got position ${position}, want a whole number from 0 to ${limit}`)
      }
      for (const [layer, { memory }] of layers.entries()) {
        const want = memory.reserve(memory.empty(1), position)
        checkKept(layer, kept[layer]!, memory.pending?.isWaiting(kept[layer]!) ? withRoom(memory, want) : want)
      }
      return { positions: [position], layers: kept }
    },
    dispose: reader.dispose,
  }
}

/**
 * The bytes that a state holds: constant for linear attention, growing with the text for softmax. Up to 16 positions that
 * wait to be added to sums are not counted.
 */
export function stateBytes({ layers }: Pick<State, 'layers'>): number {
  return settledBytes(layers)
}

function checkIds({ vocab }: ModelConfig, { positions }: State, ids: NDArray, limit: number): void {
  const [rows, length] = ids.shape
  const batch = positions.length
  if (ids.dtype !== 'int32') throw new TypeError(`advance: got ids of ${ids.dtype}, want int32`)
  if (ids.shape.length !== 2 || rows !== batch || !length) {
    throw new RangeError(`advance: got ids of shape [${ids.shape}], want [${batch}, at least 1]`)
  }
  const most = Math.max(...positions)
  if (most + length > limit) {
    throw new RangeError(
      `advance: got ${length} tokens after ${most}, want at most ${limit} positions in all, which the model has ` +
        'embeddings or features for; go on from a shorter text',
    )
  }
  const wrong = ids.data.find((id) => id < 0 || id >= vocab)
  if (wrong !== undefined) throw new RangeError(`advance: got token ${wrong}, want 0 to ${vocab - 1}`)
}

function checkKept(layer: number, got: Kept, want: Kept): void {
  for (const name of new Set([...Object.keys(got), ...Object.keys(want)])) {
    const [is, should] = [got[name]?.shape, want[name]?.shape]
    if (`${is}` !== `${should}`) {
      const list = (shape: readonly number[] | undefined) => (shape ? `[${shape}]` : 'none')
      throw new RangeError(`restore: layer ${layer}: ${name}: got ${list(is)}, want ${list(should)}`)
    }
  }
}
