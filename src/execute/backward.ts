/** Loss and gradients of a model, block by block: one compiled forward and one backward per distinct block. */

import { type FloatArray, floats, type NDArray, type Params, sizeOf } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { vjp } from '../graph/gradient.ts'
import { mul, reshape, storedAs } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { tokenLossGradients } from '../nn/loss.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'
import { blockInputs, blockKey, functionCache, headInputs, traceBlock } from './blocks.ts'
import { labelRows, rowBlocks, rowsOf } from './forward.ts'
import { addLookupGradients, lookUp } from './lookups.ts'
import type { Objective } from './objective.ts'
import { createWorkspace } from './workspace.ts'

/** Options of {@link createBackward}. */
export interface BackwardOptions {
  /** Which values named in the blocks are kept for the backward pass: the rest is computed again. Default: the family's list. */
  readonly saved?: readonly string[]
  /** Share of residual branches and embeddings that are dropped, 0 ≤ rate < 1. Default 0. */
  readonly dropout?: number
  readonly kernels?: Kernels
}

/** Gradients for a config on a device; the loss is next-token cross-entropy. */
export function createBackward(device: Device, config: ModelConfig, options: BackwardOptions = {}): Objective {
  const family = familyOf(config)
  const { saved = family.saved, dropout = 0, kernels = plainKernels } = options
  const functions = functionCache(device)
  const workspace = createWorkspace()

  const embedForward = functions.get('embed', () => ({ mask, ...rows }) => ({ x: masked(family.embed(rows), mask) }))
  const embedBackward = functions.get('embed-backward', () => ({ mask, dx, ...rows }) => {
    const tables = Object.keys(rows)
    const d = vjp([masked(family.embed(rows), mask)], [dx!], Object.values(rows))
    return Object.fromEntries(tables.map((table, i) => [`d.${table}`, d[i]!]))
  })
  const headForward = functions.get('head', () => (inputs) => ({ h: traceHead(config, inputs) }))
  const headBackward = functions.get('head-backward', () => ({ dh, ...inputs }) => {
    const wrt = Object.keys(inputs)
    const d = vjp([traceHead(config, inputs)], [dh!], Object.values(inputs))
    return Object.fromEntries(wrt.map((name, i) => [`d.${name}`, d[i]!]))
  })
  const loss = functions.get('loss', () => ({ h, unembedding, labels, weights, accumulated }) => {
    const found = tokenLossGradients({
      h: h!,
      unembedding: unembedding!,
      labels: labels!,
      weights: weights!,
      accumulated: accumulated ?? unembedding!,
    })
    // Without a place to add it to, the output embedding is frozen and its gradient is left out.
    return { loss: found.loss, dh: found.dh, ...(accumulated && { dUnembedding: found.dUnembedding }) }
  })

  const forwardOf = (layer: number) =>
    functions.get(`forward ${blockKey(config, layer)}`, () => (inputs) => {
      const kept: Record<string, Tensor> = {}
      const save = (name: string, value: Tensor) => {
        if (saved.includes(name)) kept[`s.${name}`] = value
        return value
      }
      return { y: traceBlock(config, layer, inputs, { save }), ...kept }
    })

  const backwardOf = (layer: number, trained: readonly string[]) =>
    functions.get(`backward ${blockKey(config, layer)} ${trained}`, () => ({ dy, ...inputs }) => {
      const save = (name: string, value: Tensor) => {
        const stored = inputs[`s.${name}`]
        return stored ? storedAs(value, stored) : value
      }
      const y = traceBlock(config, layer, inputs, { save })
      const names = ['x', ...trained.map((path) => `p.${path}`)]
      const d = vjp(
        [y],
        [dy!],
        names.map((name) => inputs[name]!),
      )
      return Object.fromEntries(names.map((name, i) => [`d.${name}`, d[i]!]))
    })

  /** Loss and gradient of the last hidden states, run in blocks of rows. */
  const runLoss = async (params: Params, grads: Params, h: FloatArray, labels: NDArray, tokenWeight: number) => {
    const dh = floats(h.shape)
    const accumulated = grads[family.unembedding]
    let total = 0
    for (const rows of rowBlocks(h.shape[0]!)) {
      const column = labels.data.subarray(rows.start, rows.end)
      const weights = floats(
        [column.length, 1],
        Float32Array.from(column, (label) => (label < 0 ? 0 : tokenWeight)),
      )
      const inputs: Arrays = {
        h: rowsOf(h, rows),
        unembedding: params[family.unembedding]!,
        labels: labelRows(labels, rows),
        weights,
      }
      const into = { dh: rowsOf(dh, rows), ...(accumulated && { dUnembedding: accumulated }) }
      const found = await workspace.run('loss', loss, { ...inputs, ...(accumulated && { accumulated }) }, into)
      total += found.loss!.data[0]!
    }
    if (!Number.isFinite(total))
      throw new Error(`loss: got ${total}; lower the learning rate or check the weights for NaN`)
    return { total, dh }
  }

  return {
    async accumulate(params, grads, { ids, labels }, { tokenWeight, fresh = false, rng }) {
      if (fresh) clearTables(grads)
      const maskOf = (name: string, shape: readonly number[]): Arrays => {
        if (dropout === 0) return {}
        if (!rng) throw new TypeError('accumulate: dropout is on; pass a random stream')
        return { mask: dropoutMask(rng.split(name), shape, dropout) }
      }
      const stream = [...ids.shape, config.width]
      const rows = lookUp(config, family, params, ids)
      const embedMask = maskOf('embed', stream)
      let x = (await workspace.run('x0', embedForward, { ...rows, ...embedMask })).x as FloatArray
      const inputs: Arrays[] = []
      for (let layer = 0; layer < config.layers; layer++) {
        const mask = maskOf(`layer ${layer}`, [family.drops, ...stream])
        const given = { x, ...blockInputs(config, params, layer), ...mask }
        const { y, ...kept } = await workspace.run(`forward ${layer}`, forwardOf(layer), given)
        inputs.push({ ...given, ...kept })
        x = y as FloatArray
      }
      const headGiven = { x, ...headInputs(family, params) }
      const h = (await workspace.run('h', headForward, headGiven)).h as FloatArray
      const { total, dh } = await runLoss(params, grads, h, labels, tokenWeight)
      const dHead = await workspace.run('head-backward', headBackward, { dh, ...headGiven })
      addGradients(grads, below('d.p.', dHead))
      let dy = dHead['d.x']!
      for (let layer = config.layers - 1; layer >= 0; layer--) {
        const prefix = family.blockPrefix(layer)
        const trained = Object.keys(below(prefix, grads))
        const into = fresh ? prefixed('d.p.', below(prefix, grads)) : {}
        // Two slots in turn, so that a gradient is not written over while it is read.
        const slot = `backward ${layer % 2} ${fresh}`
        const d = await workspace.run(slot, backwardOf(layer, trained), { dy, ...inputs[layer]! }, into)
        if (!fresh) addGradients(grads, prefixed(prefix, below('d.p.', d)))
        dy = d['d.x']!
      }
      const dRows = await workspace.run('embed-backward', embedBackward, { dx: dy, ...rows, ...embedMask })
      addLookupGradients(family, grads, ids, below('d.', dRows) as Record<string, FloatArray>, kernels)
      return total
    },
    dispose: functions.dispose,
  }

  /** Zeros for what is summed up in place: tables, the output embedding, the head. */
  function clearTables(grads: Params): void {
    const summed = [...family.lookups.map(({ table }) => table), family.unembedding, ...family.headPaths]
    for (const path of new Set(summed)) if (grads[path]) kernels.fill(grads[path], 0)
  }

  function addGradients(grads: Params, found: Readonly<Record<string, NDArray>>): void {
    for (const [path, gradient] of Object.entries(found)) {
      const into = grads[path]
      if (into) kernels.add(into, gradient as FloatArray)
    }
  }
}

function traceHead(config: ModelConfig, { x, ...params }: Tensors): Tensor {
  return reshape(familyOf(config).head(config, below('p.', params), x!), [-1, config.width])
}

function masked(x: Tensor, mask: Tensor | undefined): Tensor {
  return mask ? mul(x, mask) : x
}

/** 0 with probability `rate`, else 1 / (1 − rate). */
function dropoutMask(rng: Random, shape: readonly number[], rate: number): FloatArray {
  const kept = 1 / (1 - rate)
  return floats(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => (rng.uniform() < rate ? 0 : kept)),
  )
}
