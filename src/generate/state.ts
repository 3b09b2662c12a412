/** Reads tokens into a state and gives the logits of the next: prefill in pieces, then one position at a time. */

import type { Kept, Memory } from '../attention/memory.ts'
import { attentionOf } from '../attention/plan.ts'
import { type FloatArray, floats, ints, type NDArray } from '../base/array.ts'
import { blockInputs, blockKey, functionCache, traceBlock } from '../execute/blocks.ts'
import { createForward, outputEmbedding } from '../execute/forward.ts'
import { add, exp, log, max, sub, sum } from '../graph/ops.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { Model, ModelConfig } from '../models/model.ts'
import { tokenLogits } from '../nn/loss.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Device } from '../runtime/device.ts'
import { batchMemory, copied, rowOf, shapeKey, stacked } from './rows.ts'

/** All that a model keeps of the tokens it has read: one memory per layer. */
export interface State {
  /** Tokens read so far, by each of the sequences that are read side by side. */
  readonly positions: readonly number[]
  readonly layers: readonly Kept[]
}

/** What {@link Generator.advance} gives. */
export interface Advanced {
  /** The logits (b v) after the last token; (b·l v) after every token, or (0 v), where asked for. */
  readonly logits: FloatArray
  /** ln Σ exp of each row of logits: a logit less it is ln of the probability. */
  readonly logSums: Float32Array
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
  /** A copy that goes on independently. @throws Error when the state is used up. */
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

/** The most positions read by one graph. */
export const largestPiece = 256

/**
 * Prepares a model for generation. Its parameters are read where they are, at every step.
 * @throws TypeError when the model is not causal.
 */
export function createGenerator(device: Device, { config, params }: Model): Generator {
  if (!config.causal) {
    throw new TypeError(`createGenerator: ${config.family} sees later tokens, want a causal model to generate with`)
  }
  const family = familyOf(config)
  const embedded = family.lookups.some(({ by }) => by === 'positions') ? config.maxLength : Infinity
  const limit = Math.min(embedded, ...config.attention.map((plan) => attentionOf(plan).positions ?? Infinity))
  const forward = createForward(device, config)
  const functions = functionCache(device)
  const unembed = functions.get('unembed', () => tracedLogits)
  const layers = config.attention.map((plan, layer) => {
    const memory = attentionOf(plan).memory(config)
    const build = () => (inputs: Tensors) => tracedStep(config, layer, memory, inputs)
    const run = functions.get(blockKey(config, layer), build)
    return { memory, rows: batchMemory(memory), weights: blockInputs(config, params, layer), run }
  })
  const used = new WeakSet<State>()
  const use = (where: string, state: State) => {
    if (used.has(state)) throw new Error(`${where}: this state is used up; go on from its successor, or fork it before`)
    return state
  }

  /** One piece through all layers: (b l) -> the residual stream (b l e) and the memories after it. */
  const read = async (kept: readonly Kept[], positions: readonly number[], ids: NDArray) => {
    const l = ids.shape[1]!
    const shared = forward.shared({ ids }, positions)
    const next: Kept[] = []
    let x = await forward.embed(params, { ids }, positions)
    for (const [layer, { memory, rows, weights, run }] of layers.entries()) {
      const before = kept[layer]!
      const inputs = { x, ...shared, ...prefixed('past.', rows.past(before, positions, l)), ...weights }
      const { y, ...rest } = (await run(inputs, prefixed('next.', memory.inPlace(before, l)))) as Kept
      next.push(rows.keep(before, below('next.', rest), positions))
      x = y!
    }
    return { x, kept: next }
  }

  const logitsOf = async (x: FloatArray) => {
    const h = await forward.head(params, x)
    const { logits, logSums } = await unembed({ h, ...outputEmbedding(config, params) })
    return { logits: logits as FloatArray, logSums: logSums!.data as Float32Array }
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
      const streams: FloatArray[] = []
      for (const piece of pieces(ids)) {
        const done = await read(kept, positions, piece)
        kept = done.kept
        positions = positions.map((position) => position + piece.shape[1]!)
        if (logits !== 'all') streams.length = 0
        streams.push(done.x)
      }
      const next = { positions, layers: kept }
      if (logits === 'none') return { logits: floats([0, config.vocab]), logSums: new Float32Array(0), state: next }
      const x = logits === 'all' ? alongPositions(streams) : lastPosition(streams.at(-1)!)
      return { ...(await logitsOf(x)), state: next }
    },
    fork(state) {
      use('fork', state)
      return { ...state, layers: state.layers.map(copied) }
    },
    join(states) {
      if (states.length === 0) throw new RangeError('join: got no states, want at least one')
      for (const state of states) use('join', state)
      const most = Math.max(...states.flatMap(({ positions }) => positions))
      // Caches of softmax attention get room for the longest sequence.
      const roomy = states.map((state) => layers.map(({ memory }, layer) => memory.reserve(state.layers[layer]!, most)))
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
        checkKept(layer, kept[layer]!, memory.reserve(memory.empty(1), position))
      }
      return { positions: [position], layers: kept }
    },
    async dispose() {
      await functions.dispose()
      await forward.dispose()
    },
  }
}

/** The bytes that a state holds: constant for linear attention, growing with the text for softmax. */
export function stateBytes({ layers }: Pick<State, 'layers'>): number {
  return layers.flatMap((kept) => Object.values(kept)).reduce((bytes, { data }) => bytes + data.byteLength, 0)
}

/** How many of `length` tokens the next graph reads: the largest piece, then powers of two, so that graphs are few. */
export function pieceOf(length: number, largest = largestPiece): number {
  return Math.min(largest, 2 ** Math.floor(Math.log2(length)))
}

/** A block whose attention goes on from inputs `past.…` and hands out results `next.…`. */
function tracedStep(config: ModelConfig, layer: number, memory: Memory, inputs: Tensors): Tensors {
  let next: Tensors = {}
  const y = traceBlock(config, layer, inputs, {
    attend: (params) => (heads) => {
      const attended = memory.attend(below('past.', inputs), params, heads)
      next = attended.next
      return attended.y
    },
  })
  return { y, ...prefixed('next.', next) }
}

/** Logits and ln Σ exp of them: (t e), (v e) -> (t v), (t 1). */
function tracedLogits({ h, unembedding, bias }: Tensors): Tensors {
  const logits = tokenLogits({ h: h!, unembedding: unembedding!, ...(bias && { bias }) })
  const top = max(logits, [-1])
  return { logits, logSums: add(top, log(sum(exp(sub(logits, top)), [-1]))) }
}

/** Cuts (b l) into pieces. */
function pieces(ids: NDArray): NDArray[] {
  const [batch, length] = ids.shape as [number, number]
  const cut: NDArray[] = []
  for (let start = 0; start < length; ) {
    const size = pieceOf(length - start)
    const rows = Array.from({ length: batch }, (_, row) => [
      ...ids.data.subarray(row * length + start, row * length + start + size),
    ])
    cut.push(ints([batch, size], rows.flat()))
    start += size
  }
  return cut
}

/** (b l e) -> (b 1 e). */
function lastPosition(x: FloatArray): FloatArray {
  const [batch, l, width] = x.shape as [number, number, number]
  const last = floats([batch, 1, width])
  for (let row = 0; row < batch; row++) {
    const end = (row + 1) * l * width
    last.data.set(x.data.subarray(end - width, end), row * width)
  }
  return last
}

/** Pieces (b · e) after each other: (b l e). */
function alongPositions(parts: readonly FloatArray[]): FloatArray {
  const [batch, , width] = parts[0]!.shape as [number, number, number]
  const length = parts.reduce((total, { shape }) => total + shape[1]!, 0)
  const whole = floats([batch, length, width])
  let start = 0
  for (const { shape, data } of parts) {
    const size = shape[1]! * width
    for (let row = 0; row < batch; row++) {
      whole.data.set(data.subarray(row * size, (row + 1) * size), row * length * width + start)
    }
    start += size
  }
  return whole
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
