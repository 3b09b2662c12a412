/** The part of a model that all tasks share, embedding and blocks, run forward and then backward. */

import { type FloatArray, floats, type NDArray, type Params, sizeOf } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { vjp } from '../graph/gradient.ts'
import { mul, storedAs } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { adapterPairs } from '../models/adapter.ts'
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
import { tracedEmbedding } from './forward.ts'
import { addLookupGradients, lookUp } from './lookups.ts'
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
  /** Share that is dropped of residual branches and embeddings. */
  readonly dropout: number
  /** Has the parameters of blocks that are not among those that are given. */
  readonly blocks?: BlockSource
}

/** The trunk of a config. */
export function createTrunk(
  config: ModelConfig,
  { functions, workspace, kernels }: BackwardParts,
  { saved, dropout, blocks: source }: TrunkOptions,
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

  const forwardOf = (layer: number) =>
    functions.get(`forward ${blockKey(config, layer)}`, () => (inputs) => {
      const kept: Record<string, Tensor> = {}
      const save = (name: string, value: Tensor) => {
        if (saved.includes(name)) kept[`s.${name}`] = value
        return value
      }
      return { y: traceBlock(config, layer, inputs, { save }), ...kept }
    })

  const backwardOf = (layer: number, wanted: readonly string[]) =>
    functions.get(`backward ${blockKey(config, layer)} ${wanted}`, () => ({ dy, ...inputs }) => {
      const save = (name: string, value: Tensor) => {
        const stored = inputs[`s.${name}`]
        return stored ? storedAs(value, stored) : value
      }
      return gradientsBy(wanted, inputs, traceBlock(config, layer, inputs, { save }), dy!)
    })

  return async (params, batch, rng) => {
    const drawn = (name: string, shape: readonly number[], rate: number) => {
      if (!rng) throw new TypeError('accumulate: dropout is on; pass a random stream')
      return dropoutFactors(rng.split(name), shape, rate)
    }
    const factors = (name: string, shape: readonly number[]): Arrays =>
      dropout === 0 ? {} : { dropout: drawn(name, shape, dropout) }
    const [b, l] = batch.ids.shape as [number, number]
    const stream = [b, l + (family.prepended ?? 0), config.width]
    const rows = lookUp(config, family, params, batch)
    const embedGiven = { ...rows, ...paramInputs(params, family.embedPaths), ...factors('embed', stream) }
    let x = (await workspace.run('x0', embedForward, embedGiven)).x as FloatArray
    const given = shared(batch)
    const inputs: Arrays[] = []
    for (let layer = 0; layer < config.layers; layer++) {
      // The way back begins with the last block, which is then still there.
      const next = Math.min(layer + 1, config.layers - 1)
      const own = await readBlock(config, params, layer, { source, next })
      const dropped = factors(`layer ${layer}`, [family.drops, ...stream])
      const adapterDropped = adapterFactors(config, own, (module, width, rate) =>
        drawn(`layer ${layer}.${module}`, [sizeOf(stream.slice(0, 2)), width], rate),
      )
      const blockGiven = { x, ...given, ...dropped, ...adapterDropped }
      const { y, ...kept } = await workspace.run(`forward ${layer}`, forwardOf(layer), { ...blockGiven, ...own })
      inputs.push({ ...blockGiven, ...kept })
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
        const d = await workspace.run(slot, backwardOf(layer, wanted), { dy, ...inputs[layer]!, ...weights }, into)
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

/** The `lora_dropout` of each linear layer that an adapter with dropout changes, beside its other parameters. */
function adapterFactors(
  { adapter }: ModelConfig,
  params: Arrays,
  draw: (module: string, width: number, rate: number) => FloatArray,
): Arrays {
  if (!adapter?.dropout) return {}
  return Object.fromEntries(
    adapterPairs(Object.keys(params)).map(({ a }) => {
      const module = a.slice(0, -'lora_A.weight'.length)
      return [`${module}lora_dropout`, draw(module, params[a]!.shape[1]!, adapter.dropout)]
    }),
  )
}

/** 0 with probability `rate`, else 1 / (1 − rate). */
function dropoutFactors(rng: Random, shape: readonly number[], rate: number): FloatArray {
  const kept = 1 / (1 - rate)
  return floats(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => (rng.uniform() < rate ? 0 : kept)),
  )
}
