/** How a model reads: block by block whatever the length, and as one graph for single positions that come again and again. */

import type { Kept } from '../attention/memory.ts'
import { attentionOf } from '../attention/plan.ts'
import type { FloatArray, NDArray } from '../base/array.ts'
import { blockInputs, blockKey, functionCache } from '../execute/blocks.ts'
import { createForward, outputEmbedding } from '../execute/forward.ts'
import { lookUp } from '../execute/lookups.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { Model } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Device } from '../runtime/device.ts'
import { batchMemory, shapeKey } from './rows.ts'
import { rowWeights, storedWeights } from './rowWeights.ts'
import { createSettling } from './settling.ts'
import { decoding, type LayerMemory, type Logits, restored, tracedBlock, tracedLogits } from './traced.ts'
import { createWholeSteps } from './wholeStep.ts'

/** How memory is traded for speed. */
export interface ReaderOptions {
  /**
   * After how many single positions of equal shapes a graph of the whole model is made for them, which takes as long as
   * some twenty positions and then saves about a quarter of the time of each; Infinity for never. Default 16.
   */
  readonly wholeAfter?: number
  /**
   * Whether weights that lie badly for single positions are copied: those of GPT-2, whose blocks then take twice the
   * memory. Changes to the parameters are not seen after that. Default true.
   */
  readonly copies?: boolean
}

/** Reads tokens into memories with room for them. */
export interface Reader {
  readonly layers: readonly LayerMemory[]
  /** Memories that are gone on from beside the given ones. */
  fork(kept: readonly Kept[]): Kept[]
  /** ids (b l) -> the residual stream (b l e) after the last block, and the memories after it. */
  read(kept: readonly Kept[], positions: readonly number[], ids: NDArray): Promise<{ x: FloatArray; kept: Kept[] }>
  /** One position (b 1) -> the logits after it, and the memories. */
  step(kept: readonly Kept[], positions: readonly number[], ids: NDArray): Promise<Logits & { kept: Kept[] }>
  /** (b l e) -> logits of all positions. */
  logits(x: FloatArray): Promise<Logits>
  dispose(): Promise<void>
}

export function createReader(device: Device, model: Model, options: ReaderOptions = {}): Reader {
  const { wholeAfter = 16, copies = true } = options
  const { config } = model
  const weights = copies ? rowWeights(model) : storedWeights(model)
  const { params } = weights
  const release = copies ? device.keep?.(Object.values(params)) : undefined
  const forward = createForward(device, config)
  const functions = functionCache(device, decoding)
  const unembed = functions.get('unembed', () => tracedLogits)
  const layers = config.attention.map((plan, layer) => {
    const memory = attentionOf(plan).memory(config)
    const prefix = familyOf(config).blockPrefix(layer)
    const build = () => (inputs: Tensors) => tracedBlock(config, layer, memory, restored(weights, prefix, inputs))
    const run = functions.get(blockKey(config, layer), build)
    return { memory, rows: batchMemory(memory), inputs: blockInputs(config, params, layer), run }
  })
  const memories = layers.map(({ memory }) => memory)
  const settling = createSettling(functions, memories, (layer) => blockKey(config, layer))
  const whole = createWholeSteps(device, config, weights, layers)
  const seen = new Map<string, number>()
  /** Whether these shapes have come often enough. */
  const isFamiliar = (kept: readonly Kept[], batch: number) => {
    const key = `${batch} ${shapeKey(kept)}`
    const times = (seen.get(key) ?? 0) + 1
    seen.set(key, times)
    return times > wholeAfter
  }

  const blockwise: Reader['read'] = async (kept, positions, ids) => {
    const l = ids.shape[1]!
    const shared = forward.shared({ ids }, positions)
    const next: Kept[] = []
    let x = await forward.embed(params, { ids }, positions)
    for (const [layer, { rows, inputs, run }] of layers.entries()) {
      const before = kept[layer]!
      const given = { x, ...shared, ...prefixed('past.', rows.past(before, positions, l)), ...inputs }
      const { y, ...rest } = (await run(given)) as Kept
      next.push(rows.keep(before, below('next.', rest), positions))
      x = y!
    }
    return { x, kept: next }
  }

  const reader: Reader = {
    layers,
    fork: settling.fork,
    read: async (kept, positions, ids) => blockwise(await settling.settled(kept), positions, ids),
    async step(before, positions, ids) {
      const kept = await settling.withPlace(before)
      if (!isFamiliar(kept, positions.length)) {
        const done = await blockwise(kept, positions, ids)
        return { ...(await reader.logits(done.x)), kept: done.kept }
      }
      const rows = lookUp(config, familyOf(config), params, { ids }, positions)
      return whole.step(kept, positions, { ...prefixed('row.', rows), ...forward.shared({ ids }, positions) })
    },
    async logits(x) {
      const h = await forward.head(params, x)
      const { logits, logSums } = await unembed({ h, ...outputEmbedding(config, params) })
      return { logits: logits as FloatArray, logSums: logSums!.data as Float32Array }
    },
    async dispose() {
      release?.()
      await whole.dispose()
      await functions.dispose()
      await forward.dispose()
    },
  }
  return reader
}
