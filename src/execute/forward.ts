/** Runs a model forward, block by block: embeddings, blocks, and what its task asks of the last states. */

import type { FloatArray, NDArray, Params } from '../base/array.ts'
import { reshape } from '../graph/ops.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig, ModelInputs } from '../models/model.ts'
import { isLanguage, isPooled } from '../models/task.ts'
import { tokenLogits, tokenLoss } from '../nn/loss.ts'
import { below } from '../nn/params.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import {
  type BlockSource,
  blockKey,
  functionCache,
  paramInputs,
  readBlock,
  type SharedInputs,
  sharedInputs,
  traceBlock,
} from './blocks.ts'
import { lookUp, type Start } from './lookups.ts'
import { labelledRows, labelRows, rowBlocks, rowsOf } from './rows.ts'

/** A model's forward functions on a device. Parameters are arguments, so that training needs no copy of them. */
export interface Forward {
  /** ids (b l) -> (b l e). */
  embed(params: Params, inputs: ModelInputs, start?: Start): Promise<FloatArray>
  /** What every block is given besides its parameters and the residual stream. */
  readonly shared: SharedInputs
  /** The block of a layer: (b l e) -> (b l e). */
  block(params: Params, layer: number, x: FloatArray, shared: Arrays): Promise<FloatArray>
  /** The final norm, or what the family has in its place: (b l e) -> (t e) with t = b l. */
  head(params: Params, x: FloatArray): Promise<FloatArray>
  /** Everything from ids to {@link Forward.head}. */
  hidden(params: Params, inputs: ModelInputs): Promise<FloatArray>
  /** −log p of each label: (t e), labels of t elements -> t numbers in nats, 0 where a label is below 0. */
  losses(params: Params, h: FloatArray, labels: NDArray): Promise<Float32Array>
  /** Logits of the next, or the hidden, token: (t e) -> (t v). */
  logits(params: Params, h: FloatArray): Promise<FloatArray>
  /** Class logits of each sequence, or the prediction of a regression (c = 1), of the last block's (b l e) -> (b c). */
  classes(params: Params, x: FloatArray, keyMask?: FloatArray): Promise<FloatArray>
  /** Everything from ids to {@link Forward.classes}. */
  classify(params: Params, inputs: ModelInputs): Promise<FloatArray>
  dispose(): Promise<void>
}

/**
 * Forward functions for a config. Each @throws TypeError when the config's task has no such end.
 * @param options.blocks has the parameters of blocks that are not among those that functions are given
 */
export function createForward(
  device: Device,
  config: ModelConfig,
  { blocks: source }: { readonly blocks?: BlockSource } = {},
): Forward {
  const family = familyOf(config)
  const functions = functionCache(device)
  const shared = sharedInputs(config)
  const headPaths = family.headPaths(config)
  const embedding = functions.get('embed', () => (inputs) => ({ x: tracedEmbedding(config, inputs) }))
  const head = functions.get('head', () => ({ x, ...params }) => ({
    h: reshape(family.head(config, below('p.', params), x!), [-1, config.width]),
  }))
  const losses = functions.get('losses', () => ({ h, unembedding, labels, bias }) => ({
    nll: tokenLoss({ h: h!, unembedding: unembedding!, labels: labels!, ...(bias && { bias }) }),
  }))
  const logits = functions.get('logits', () => ({ h, unembedding, bias }) => ({
    logits: tokenLogits({ h: h!, unembedding: unembedding!, ...(bias && { bias }) }),
  }))
  const classes = functions.get('classes', () => (inputs) => ({ logits: tracedClasses(config, inputs) }))

  const stream = async (params: Params, inputs: ModelInputs): Promise<FloatArray> => {
    let x = await forward.embed(params, inputs)
    const given = shared(inputs)
    for (let layer = 0; layer < config.layers; layer++) x = await forward.block(params, layer, x, given)
    return x
  }

  const forward: Forward = {
    async embed(params, inputs, start = 0) {
      const given = { ...lookUp(config, family, params, inputs, start), ...paramInputs(params, family.embedPaths) }
      return (await embedding(given)).x as FloatArray
    },
    shared,
    async block(params, layer, x, given) {
      const run = functions.get(blockKey(config, layer), () => (inputs) => ({ y: traceBlock(config, layer, inputs) }))
      const own = await readBlock(config, params, layer, { source, next: (layer + 1) % config.layers })
      return (await run({ x, ...given, ...own })).y as FloatArray
    },
    head: async (params, x) => (await head({ x, ...paramInputs(params, headPaths) })).h as FloatArray,
    hidden: async (params, inputs) => forward.head(params, await stream(params, inputs)),
    async losses(params, h, labels) {
      const out = new Float32Array(h.shape[0]!)
      const picked = labelledRows(h, labels)
      for (const rows of rowBlocks(picked.h.shape[0]!)) {
        const given = { h: rowsOf(picked.h, rows), labels: labelRows(picked.labels, rows) }
        const { nll } = await losses({ ...given, ...outputEmbedding(config, params) })
        for (let row = rows.start; row < rows.end; row++) {
          if (picked.labels.data[row]! >= 0) out[picked.from?.[row] ?? row] = nll!.data[row - rows.start]!
        }
      }
      return out
    },
    logits: async (params, h) => (await logits({ h, ...outputEmbedding(config, params) })).logits as FloatArray,
    async classes(params, x, keyMask) {
      checkPooled(config)
      return (await classes({ x, ...(keyMask && { keyMask }), ...paramInputs(params, headPaths) })).logits as FloatArray
    },
    async classify(params, inputs) {
      checkPooled(config)
      return forward.classes(params, await stream(params, inputs), inputs.keyMask)
    },
    dispose: functions.dispose,
  }
  return forward
}

function checkPooled({ task }: ModelConfig): void {
  if (!isPooled(task)) throw new TypeError(`classify: got a model for ${task}, want one that classifies`)
}

/** Traces the embedding on looked-up rows and `p.…`. */
export function tracedEmbedding(config: ModelConfig, inputs: Tensors): Tensors[string] {
  const rows = Object.fromEntries(Object.entries(inputs).filter(([name]) => !name.startsWith('p.')))
  return familyOf(config).embed(config, below('p.', inputs), rows)
}

/** Traces the class logits on `x`, `p.…` and perhaps `keyMask`. */
export function tracedClasses(config: ModelConfig, { x, keyMask, ...rest }: Tensors): Tensors[string] {
  const family = familyOf(config)
  const params = below('p.', rest)
  return family.classify(config, params, family.head(config, params, x!), keyMask)
}

/** The output embedding and its bias as inputs. @throws TypeError when the task has none. */
export function outputEmbedding(config: ModelConfig, params: Params): Record<string, FloatArray> {
  if (!isLanguage(config.task)) throw new TypeError(`logits: got a model for ${config.task}, want a language model`)
  const { weight, bias } = familyOf(config).unembedding(config)
  return { unembedding: params[weight]!, ...(bias && { bias: params[bias]! }) }
}
