/** The part of a model that all tasks share, embedding and blocks, run forward and then backward. */

import { type FloatArray, type NDArray, type Params, sizeOf } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { vjp } from '../graph/gradient.ts'
import { mul, storedAs } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig, ModelInputs } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Arrays } from '../runtime/device.ts'
import type { Kernels } from '../runtime/kernels.ts'
import {
  type BlockSource,
  blockKey,
  type FunctionCache,
  paramInputs,
  readBlock,
  sharedInputs,
  traceBlock,
} from './blocks.ts'
import { adapterFactors, dropoutFactors } from './dropout.ts'
import { tracedEmbedding } from './forward.ts'
import { addLookupGradients, lookUp } from './lookups.ts'
import { keptInputs, type StateStore } from './states.ts'
import type { Workspace } from './workspace.ts'

/** What compiled functions, results and settings the parts of a backward pass share. */
export interface BackwardParts {
  readonly functions: FunctionCache
  readonly workspace: Workspace
  readonly kernels: Kernels
}

/** A pass through the trunk that can be gone back once, before the next one begins. */
export interface Pass {
  /** The residual stream after the last block (b l e). */
  readonly x: FloatArray
  /**
   * Adds the gradients of the trunk's parameters, by that of the residual stream, to `grads`.
   * @param fresh the gradients of blocks so far do not count, and those of the embedding are zeros.
   */
  backward(grads: Params, dx: NDArray, fresh: boolean): Promise<void>
}

/** Runs a batch through embedding and blocks. */
export type Trunk = (params: Params, inputs: ModelInputs, rng: Random | undefined) => Promise<Pass>

/** How a trunk is run. */
export interface TrunkOptions {
  /** Names of values that are kept for the way back. */
  readonly saved: readonly string[]
  /** Layers, from the first, that keep them. */
  readonly savedLayers: number
  /** Share that is dropped of residual branches and embeddings. */
  readonly dropout: number
  /** Has the parameters of blocks that are not among those that are given. */
  readonly blocks?: BlockSource
  /** Keeps the states between blocks, where they are not to stay in memory; there are then no saved values. */
  readonly states?: StateStore
}

/** The trunk of a config. */
export function createTrunk(
  config: ModelConfig,
  { functions, workspace, kernels }: BackwardParts,
  { saved, savedLayers, dropout, blocks: source, states }: TrunkOptions,
): Trunk {
  const family = familyOf(config)
  const shared = sharedInputs(config)

  const embedForward = functions.get('embed', () => (inputs) => ({ x: embedded(config, inputs) }))
  const embedBackward = (trained: readonly string[]) =>
    functions.get(
      `embed-backward ${trained}`,
      () =>
        ({ dx, ...inputs }) =>
          gradientsBy(trained, inputs, embedded(config, inputs), dx!),
    )

  const forwardOf = (layer: number) => {
    const names = layer < savedLayers ? saved : []
    return functions.get(`forward ${blockKey(config, layer)} ${names}`, () => (inputs) => {
      const kept: Record<string, Tensor> = {}
      const save = (name: string, value: Tensor) => {
        if (names.includes(name)) kept[`s.${name}`] = value
        return value
      }
      return { y: traceBlock(config, layer, inputs, { save }), ...kept }
    })
  }

  const backwardOf = (layer: number, wanted: readonly string[]) =>
    functions.get(`backward ${blockKey(config, layer)} ${wanted}`, () => ({ dy, ...inputs }) => {
      const save = (name: string, value: Tensor) => {
        const stored = inputs[`s.${name}`]
        return stored ? storedAs(value, stored) : value
      }
      return gradientsBy(wanted, inputs, traceBlock(config, layer, inputs, { save }), dy!)
    })

  return async (params, batch, rng) => {
    const [b, l] = batch.ids.shape as [number, number]
    const stream = [b, l + (family.prepended ?? 0), config.width]
    const factors = (name: string, shape: readonly number[]): Arrays =>
      dropout === 0 ? {} : { dropout: dropoutFactors(rng, name, shape, dropout) }
    const rows = lookUp(config, family, params, batch)
    const embedGiven = { ...rows, ...paramInputs(params, family.embedPaths), ...factors('embed', stream) }
    let x = (await workspace.run('x0', embedForward, embedGiven)).x as FloatArray
    const given = shared(batch)
    /** The inputs of a layer besides states and parameters: drawn again, they are the same. */
    const besides = (layer: number, own: Arrays): Arrays => ({
      ...given,
      ...factors(`layer ${layer}`, [family.drops, ...stream]),
      ...adapterFactors(config, own, (module, width, rate) =>
        dropoutFactors(rng, `layer ${layer}.${module}`, [sizeOf(stream.slice(0, 2)), width], rate),
      ),
    })
    const inputs = keptInputs(states)
    for (let layer = 0; layer < config.layers; layer++) {
      // The way back begins with the last block, which is then still there.
      const next = Math.min(layer + 1, config.layers - 1)
      const own = await readBlock(config, params, layer, { source, next })
      const others = besides(layer, own)
      const slot = `forward ${inputs.slot(layer)}`
      const { y, ...kept } = await workspace.run(slot, forwardOf(layer), { x, ...others, ...own })
      await inputs.put(layer, x, { ...others, ...kept })
      x = y as FloatArray
    }

    const backward: Pass['backward'] = async (grads, dx, fresh) => {
      const tables = family.lookups.map(({ table }) => table).filter((table) => grads[table])
      const paths = family.embedPaths.filter((path) => grads[path])
      const trainedBelow = [tables.length + paths.length > 0]
      for (let layer = 0; layer < config.layers; layer++) {
        const trained = Object.keys(below(family.blockPrefix(layer), grads)).length > 0
        trainedBelow.push(trained || trainedBelow[layer]!)
      }
      let dy = dx
      for (let layer = config.layers - 1; layer >= 0 && trainedBelow[layer + 1]; layer--) {
        const prefix = family.blockPrefix(layer)
        const own = below(prefix, grads)
        const wanted = [...(trainedBelow[layer] ? ['x'] : []), ...Object.keys(prefixed('p.', own))]
        const into = fresh ? prefixed('d.p.', own) : {}
        // Two slots in turn, so that a gradient is not written over while it is read.
        const slot = `backward ${layer % 2} ${fresh}`
        const weights = await readBlock(config, params, layer, { source, next: Math.max(0, layer - 1) })
        const kept = await inputs.get(layer, () => besides(layer, weights))
        const d = await workspace.run(slot, backwardOf(layer, wanted), { dy, ...kept, ...weights }, into)
        if (!fresh) addGradients(grads, prefixed(prefix, below('d.p.', d)), kernels)
        if (trainedBelow[layer]) dy = d['d.x']!
      }
      if (!trainedBelow[0]) return
      const wanted = [...tables, ...Object.keys(prefixed('p.', Object.fromEntries(paths.map((path) => [path, path]))))]
      const d = below('d.', await workspace.run('embed-backward', embedBackward(wanted), { dx: dy, ...embedGiven }))
      addGradients(grads, below('p.', d), kernels)
      addLookupGradients(family, grads, batch, d, kernels)
    }
    return { x, backward }
  }
}

/** Adds gradients by path to those that are wanted. */
export function addGradients(grads: Params, found: Readonly<Record<string, NDArray>>, kernels: Kernels): void {
  for (const [path, gradient] of Object.entries(found)) {
    const into = grads[path]
    if (into) kernels.add(into, gradient as FloatArray)
  }
}

/** `d.NAME` for each wanted input: the gradient of y by that of its result. */
export function gradientsBy(wanted: readonly string[], inputs: Tensors, y: Tensor, dy: Tensor): Tensors {
  const d = vjp(
    [y],
    [dy],
    wanted.map((name) => inputs[name]!),
  )
  return Object.fromEntries(wanted.map((name, i) => [`d.${name}`, d[i]!]))
}

function embedded(config: ModelConfig, { dropout, ...inputs }: Tensors): Tensor {
  const x = tracedEmbedding(config, inputs)
  return dropout ? mul(x, dropout) : x
}
