/** A model run layer by layer, handing out the queries and keys that each layer's attention is given. */

import { attendBy } from '../attention/plan.ts'
import type { FloatArray, NDArray } from '../base/array.ts'
import { type BlockSource, blockKey, functionCache, readBlock, traceBlock } from '../execute/blocks.ts'
import { createForward } from '../execute/forward.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Model } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'

/** Queries (b h l d) and keys (b h l d) of one layer, keys repeated for grouped queries. */
export interface LayerHeads {
  readonly layer: number
  readonly q: FloatArray
  readonly k: FloatArray
}

/** Runs a model over batches; its sessions are opened once for each shape and reused until it is disposed. */
export interface HeadStream {
  /** ids (b l): each layer's queries and keys, the layer's own attention passed on to the next. */
  layers(ids: NDArray): AsyncGenerator<LayerHeads>
  dispose(): Promise<void>
}

/** @param blocks has the parameters of blocks that are not among the model's */
export function openHeads(device: Device, { config, params }: Model, blocks?: BlockSource): HeadStream {
  const forward = createForward(device, config)
  const functions = functionCache(device)
  const blockOf = (layer: number) =>
    functions.get(blockKey(config, layer), () => (inputs) => {
      const shown: Record<string, Tensor> = {}
      const y = traceBlock(config, layer, inputs, {
        attend: (own, visibility) => (heads) => {
          Object.assign(shown, { q: heads.q, k: heads.k })
          return attendBy(config.attention[layer]!, own, visibility)(heads)
        },
      })
      return { y, ...shown }
    })
  return {
    async *layers(ids) {
      const shared = forward.shared({ ids })
      let x = await forward.embed(params, { ids })
      for (let layer = 0; layer < config.layers; layer++) {
        const own = await readBlock(config, params, layer, { source: blocks, next: (layer + 1) % config.layers })
        const { y, q, k } = await blockOf(layer)({ x, ...shared, ...own })
        yield { layer, q: q as FloatArray, k: k as FloatArray }
        x = y as FloatArray
      }
    },
    async dispose() {
      await forward.dispose()
      await functions.dispose()
    },
  }
}
