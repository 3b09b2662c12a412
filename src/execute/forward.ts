/** Runs a model forward, block by block: embeddings, blocks, and the loss of each token. */

import { type FloatArray, floats, ints, type NDArray, type Params } from '../base/array.ts'
import { matmul, reshape, transpose } from '../graph/ops.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { tokenLoss } from '../nn/loss.ts'
import { below } from '../nn/params.ts'
import type { Device } from '../runtime/device.ts'
import { blockInputs, blockKey, functionCache, headInputs, traceBlock } from './blocks.ts'
import { lookUp } from './lookups.ts'

/** The most rows of logits computed at once. */
export const headRows = 1024

/** A model's forward functions on a device. Parameters are arguments, so that training needs no copy of them. */
export interface Forward {
  /** ids (b l) -> (b l e); `start` is the position of the first token, one for each sequence where they differ. */
  embed(params: Params, ids: NDArray, start?: number | readonly number[]): Promise<FloatArray>
  /** The block of a layer: (b l e) -> (b l e). */
  block(params: Params, layer: number, x: FloatArray): Promise<FloatArray>
  /** The final norm: (b l e) -> (t e) with t = b l. */
  head(params: Params, x: FloatArray): Promise<FloatArray>
  /** −log p of each label: (t e), labels of t elements -> t numbers in nats. */
  losses(params: Params, h: FloatArray, labels: NDArray): Promise<Float32Array>
  /** Logits: (t e) -> (t v). */
  logits(params: Params, h: FloatArray): Promise<FloatArray>
  /** Everything from ids to {@link Forward.head}. */
  hidden(params: Params, ids: NDArray): Promise<FloatArray>
  dispose(): Promise<void>
}

export function createForward(device: Device, config: ModelConfig): Forward {
  const family = familyOf(config)
  const functions = functionCache(device)
  const embedding = functions.get('embed', () => (rows) => ({ x: family.embed(rows) }))
  const head = functions.get('head', () => (inputs) => {
    const y = family.head(config, below('p.', inputs), inputs.x!)
    return { h: reshape(y, [-1, config.width]) }
  })
  const losses = functions.get('losses', () => ({ h, unembedding, labels }) => ({
    nll: tokenLoss({ h: h!, unembedding: unembedding!, labels: labels! }),
  }))
  const logits = functions.get('logits', () => ({ h, unembedding }) => ({
    logits: matmul(h!, transpose(unembedding!)),
  }))
  const forward: Forward = {
    async embed(params, ids, start = 0) {
      return (await embedding(lookUp(config, family, params, ids, start))).x as FloatArray
    },
    async block(params, layer, x) {
      const run = functions.get(blockKey(config, layer), () => (inputs) => ({ y: traceBlock(config, layer, inputs) }))
      return (await run({ x, ...blockInputs(config, params, layer) })).y as FloatArray
    },
    head: async (params, x) => (await head({ x, ...headInputs(family, params) })).h as FloatArray,
    async losses(params, h, labels) {
      const out = new Float32Array(h.shape[0]!)
      for (const rows of rowBlocks(h.shape[0]!)) {
        const inputs = { h: rowsOf(h, rows), unembedding: params[family.unembedding]!, labels: labelRows(labels, rows) }
        out.set((await losses(inputs)).nll!.data, rows.start)
      }
      return out
    },
    logits: async (params, h) => (await logits({ h, unembedding: params[family.unembedding]! })).logits as FloatArray,
    async hidden(params, ids) {
      let x = await forward.embed(params, ids)
      for (let layer = 0; layer < config.layers; layer++) x = await forward.block(params, layer, x)
      return forward.head(params, x)
    },
    dispose: functions.dispose,
  }
  return forward
}

/** A range of rows. */
export interface Rows {
  readonly start: number
  readonly end: number
}

/** 0 … count in ranges of at most {@link headRows}. */
export function rowBlocks(count: number): Rows[] {
  const blocks = Math.ceil(count / headRows)
  return Array.from({ length: blocks }, (_, i) => ({
    start: i * headRows,
    end: Math.min(count, (i + 1) * headRows),
  }))
}

/** Rows of a (t e) array, without a copy. */
export function rowsOf(x: FloatArray, { start, end }: Rows): FloatArray {
  const width = x.shape[1]!
  return floats([end - start, width], x.data.subarray(start * width, end * width))
}

/** Labels of some rows as a column; rows to be ignored (below 0) get label 0. */
export function labelRows(labels: NDArray, { start, end }: Rows): NDArray {
  return ints(
    [end - start, 1],
    Int32Array.from(labels.data.subarray(start, end), (label) => Math.max(label, 0)),
  )
}
