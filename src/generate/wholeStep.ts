/** One position through embedding, all blocks and the output layer as a single graph. */

import type { Kept } from '../attention/memory.ts'
import type { FloatArray, NDArray } from '../base/array.ts'
import { outputEmbedding, tracedEmbedding } from '../execute/forward.ts'
import { reshape } from '../graph/ops.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import { type Opened, openFunction } from '../runtime/compile.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import { shapeKey } from './rows.ts'
import type { RowWeights } from './rowWeights.ts'
import { decoding, type LayerMemory, type Logits, tracedBlock, tracedLogits } from './traced.ts'

/** Graphs by the shapes of the memories. */
export interface WholeSteps {
  /** @param given looked-up rows `row.…` and what all blocks share */
  step(kept: readonly Kept[], positions: readonly number[], given: Arrays): Promise<Logits & { kept: Kept[] }>
  dispose(): Promise<void>
}

/** Graphs that are kept; one holds some tens of megabytes, so that a growing batch does not keep one for each size. */
const mostGraphs = 6

export function createWholeSteps(
  device: Device,
  config: ModelConfig,
  weights: RowWeights,
  layers: readonly LayerMemory[],
): WholeSteps {
  const family = familyOf(config)
  const { params } = weights
  const paths = Object.keys(params).filter((path) => !family.lookups.some(({ table }) => table === path))
  const constant: Arrays = {
    ...prefixed('w.', Object.fromEntries(paths.map((path) => [path, params[path]!]))),
    ...outputEmbedding(config, params),
  }
  // In the order of last use.
  const graphs = new Map<string, { readonly opened: Promise<Opened>; running: number }>()
  const run = async (key: string, inputs: Arrays): Promise<Arrays> => {
    const known = graphs.get(key)
    const traced = (given: Tensors) => tracedWhole(config, weights, layers, given)
    const graph = known ?? { opened: openFunction(device, traced, inputs, decoding), running: 0 }
    graphs.delete(key)
    graphs.set(key, graph)
    graph.running += 1
    try {
      return await (await graph.opened).run(inputs)
    } catch (error) {
      if (!known) graphs.delete(key)
      throw error
    } finally {
      graph.running -= 1
      await dropOldest()
    }
  }
  const dropOldest = async () => {
    for (const [key, { opened, running }] of graphs) {
      if (graphs.size <= mostGraphs) return
      if (running > 0) continue
      graphs.delete(key)
      await (await opened).dispose()
    }
  }

  return {
    async step(kept, positions, given) {
      const past = layers.map(({ rows }, layer) => prefixed(`past.${layer}.`, rows.past(kept[layer]!, positions, 1)))
      const inputs: Arrays = Object.assign({}, constant, given, ...past)
      const key = `${shapeKey(kept)} ${Object.values(given).map(({ shape }) => shape.join())}`
      const results = await run(key, inputs)
      const next = byLayer(results, layers.length)
      return {
        logits: results.logits as FloatArray,
        logSums: (results.logSums as NDArray).data as Float32Array,
        kept: layers.map(({ rows }, layer) => rows.keep(kept[layer]!, next[layer]!, positions)),
      }
    },
    async dispose() {
      for (const { opened } of graphs.values()) await (await opened).dispose()
      graphs.clear()
    },
  }
}

/** The results `next.LAYER.NAME` by layer and name. */
function byLayer(results: Arrays, layers: number): Kept[] {
  const next = Array.from({ length: layers }, (): Record<string, FloatArray> => ({}))
  for (const [path, array] of Object.entries(results)) {
    const [part, layer, name] = path.split('.')
    if (part === 'next') next[Number(layer)]![name!] = array as FloatArray
  }
  return next
}

/** Inputs `row.…`, `w.…`, `pos.…` and `past.LAYER.…`, and the output embedding -> logits and `next.LAYER.…`. */
function tracedWhole(
  config: ModelConfig,
  weights: RowWeights,
  layers: readonly LayerMemory[],
  inputs: Tensors,
): Tensors {
  const family = familyOf(config)
  const params = weights.asStored(below('w.', inputs), '')
  const positional = prefixed('pos.', below('pos.', inputs))
  const next: Record<string, Tensors[string]> = {}
  let x = tracedEmbedding(config, { ...below('row.', inputs), ...prefixed('p.', params) })
  for (const [layer, { memory }] of layers.entries()) {
    const own = prefixed('p.', below(family.blockPrefix(layer), params))
    const past = prefixed('past.', below(`past.${layer}.`, inputs))
    const { y, ...rest } = tracedBlock(config, layer, memory, { x, ...positional, ...own, ...past })
    Object.assign(next, prefixed(`next.${layer}.`, below('next.', rest)))
    x = y!
  }
  const h = reshape(family.head(config, params, x), [-1, config.width])
  const { unembedding, bias } = inputs
  return { ...tracedLogits({ h, unembedding: unembedding!, ...(bias && { bias }) }), ...next }
}
