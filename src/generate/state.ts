/** Reads tokens into a state and gives the logits of the next: prefill in pieces, then one position at a time. */

import type { Kept, Memory } from '../attention/memory.ts'
import { attentionOf } from '../attention/plan.ts'
import { type FloatArray, floats, ints, type NDArray } from '../base/array.ts'
import { blockInputs, blockKey, functionCache, traceBlock } from '../execute/blocks.ts'
import { createForward } from '../execute/forward.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { Model, ModelConfig } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Device } from '../runtime/device.ts'

/** All that a model keeps of the tokens it has read: one memory per layer. */
export interface State {
  /** Sequences that are read side by side. */
  readonly batch: number
  /** Tokens read so far, of each sequence. */
  readonly position: number
  readonly layers: readonly Kept[]
}

/** What {@link Generator.advance} gives: the logits (b v) after the last token, and the state that has read it. */
export interface Advanced {
  readonly logits: FloatArray
  readonly state: State
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
  advance(state: State, ids: NDArray): Promise<Advanced>
  /** A copy that goes on independently. @throws Error when the state is used up. */
  fork(state: State): State
  /** Frees the compiled functions. */
  dispose(): Promise<void>
}

/** The most positions read by one graph. */
const largestPiece = 256

/**
 * Prepares a model for generation. Its parameters are read where they are, at every step.
 * @throws TypeError when the model is not causal.
 */
export function createGenerator(device: Device, { config, params }: Model): Generator {
  if (!config.causal) {
    throw new TypeError(`createGenerator: ${config.family} sees later tokens, want a causal model to generate with`)
  }
  const embedded = familyOf(config).lookups.some(({ by }) => by === 'positions') ? config.maxLength : Infinity
  const limit = Math.min(embedded, ...config.attention.map((plan) => attentionOf(plan).positions ?? Infinity))
  const forward = createForward(device, config)
  const functions = functionCache(device)
  const layers = config.attention.map((plan, layer) => {
    const memory = attentionOf(plan).memory(config)
    const build = () => (inputs: Tensors) => tracedStep(config, layer, memory, inputs)
    return { memory, weights: blockInputs(config, params, layer), run: functions.get(blockKey(config, layer), build) }
  })
  const used = new WeakSet<State>()
  const checkUnused = (where: string, state: State) => {
    if (used.has(state)) throw new Error(`${where}: this state is used up; go on from its successor, or fork it before`)
  }

  /** One piece through all layers: (b l) -> the residual stream (b l e) and the memories after it. */
  const read = async (kept: readonly Kept[], position: number, ids: NDArray) => {
    const l = ids.shape[1]!
    const next: Kept[] = []
    let x = await forward.embed(params, ids, position)
    for (const [layer, { memory, weights, run }] of layers.entries()) {
      const before = kept[layer]!
      const inputs = { x, ...prefixed('past.', memory.past(before, position, l)), ...weights }
      const { y, ...rest } = (await run(inputs, prefixed('next.', memory.inPlace(before, l)))) as Kept
      next.push(memory.keep(before, below('next.', rest), position))
      x = y!
    }
    return { x, kept: next }
  }

  return {
    config,
    limit,
    start: (batch = 1) => ({ batch, position: 0, layers: layers.map(({ memory }) => memory.empty(batch)) }),
    async advance(state, ids) {
      checkUnused('advance', state)
      checkIds(config, state, ids, limit)
      used.add(state)
      const end = state.position + ids.shape[1]!
      let kept: readonly Kept[] = layers.map(({ memory }, layer) => memory.reserve(state.layers[layer]!, end))
      let x = floats([state.batch, 0, config.width])
      let position = state.position
      for (const piece of pieces(ids)) {
        ;({ x, kept } = await read(kept, position, piece))
        position += piece.shape[1]!
      }
      const h = await forward.head(params, lastPosition(x))
      return { logits: await forward.logits(params, h), state: { batch: state.batch, position, layers: kept } }
    },
    fork(state) {
      checkUnused('fork', state)
      return { ...state, layers: state.layers.map(copied) }
    },
    async dispose() {
      await functions.dispose()
      await forward.dispose()
    },
  }
}

/** The bytes that a state holds: constant for linear attention, growing with the text for softmax. */
export function stateBytes({ layers }: State): number {
  return layers.flatMap((kept) => Object.values(kept)).reduce((bytes, { data }) => bytes + data.byteLength, 0)
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

/** Cuts (b l) into the largest pieces and then powers of two, so that texts of all lengths share few graphs. */
function pieces(ids: NDArray): NDArray[] {
  const [batch, length] = ids.shape as [number, number]
  const cut: NDArray[] = []
  for (let start = 0; start < length; ) {
    const size = Math.min(largestPiece, 2 ** Math.floor(Math.log2(length - start)))
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

function copied(kept: Kept): Kept {
  return Object.fromEntries(Object.entries(kept).map(([name, { shape, data }]) => [name, floats(shape, data.slice())]))
}

function checkIds({ vocab }: ModelConfig, { batch, position }: State, ids: NDArray, limit: number): void {
  const [rows, length] = ids.shape
  if (ids.dtype !== 'int32') throw new TypeError(`advance: got ids of ${ids.dtype}, want int32`)
  if (ids.shape.length !== 2 || rows !== batch || !length) {
    throw new RangeError(`advance: got ids of shape [${ids.shape}], want [${batch}, at least 1]`)
  }
  if (position + length > limit) {
    throw new RangeError(
      `advance: got ${length} tokens after ${position}, want at most ${limit} positions in all, which the model has ` +
        'embeddings for; go on from a shorter text',
    )
  }
  const wrong = ids.data.find((id) => id < 0 || id >= vocab)
  if (wrong !== undefined) throw new RangeError(`advance: got token ${wrong}, want 0 to ${vocab - 1}`)
}
