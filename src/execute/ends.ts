/** The ends of a model, one per kind of task: from the residual stream and labels to the loss and its gradients. */

import { type FloatArray, floats, type NDArray, type Params } from '../base/array.ts'
import { gradients } from '../graph/gradient.ts'
import { mul, reshape, sum } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { isLanguage, isPooled } from '../models/task.ts'
import { classLoss, squaredError, tokenLossGradients } from '../nn/loss.ts'
import { below } from '../nn/params.ts'
import type { Arrays } from '../runtime/device.ts'
import { paramInputs } from './blocks.ts'
import { outputEmbedding, tracedClasses } from './forward.ts'
import type { Batch } from './objective.ts'
import { labelledRows, labelRows, rowBlocks, rowsOf, scatteredRows } from './rows.ts'
import { addGradients, type BackwardParts, gradientsBy } from './trunk.ts'

/** What an end gives: Σ weight · loss, and the gradient of the residual stream. */
export interface EndLoss {
  readonly total: number
  readonly dx: NDArray
}

/** A task's end. */
export interface End {
  /** Parameters that its gradients are added to, besides those of the trunk. */
  readonly paths: readonly string[]
  /** Adds the gradients of the end's parameters to `grads`. */
  run(params: Params, grads: Params, x: FloatArray, batch: Batch, weight: number): Promise<EndLoss>
}

/** The end that a config's task asks for. @throws TypeError for a model of features, which has no loss. */
export function endOf(config: ModelConfig, parts: BackwardParts): End {
  if (isLanguage(config.task)) return tokenEnd(config, parts)
  if (isPooled(config.task)) return pooledEnd(config, parts)
  throw new TypeError(`createBackward: a model for ${config.task} has no loss; give it a task with withTask`)
}

/** The loss of each labelled token, at most so many rows of logits at once that memory stays bounded. */
function tokenEnd(config: ModelConfig, { functions, workspace, kernels }: BackwardParts): End {
  const family = familyOf(config)
  const headPaths = family.headPaths(config)
  const { weight: table, bias: biasPath } = family.unembedding(config)
  const headForward = functions.get('head', () => (inputs) => ({ h: traceHead(config, inputs) }))
  const headBackward = (wanted: readonly string[]) =>
    functions.get(
      `head-backward ${wanted}`,
      () =>
        ({ dh, ...inputs }) =>
          gradientsBy(wanted, inputs, traceHead(config, inputs), dh!),
    )
  const loss = functions.get('loss', () => ({ accumulated, accumulatedBias, bias, ...rest }) => {
    const { h, unembedding, labels, weights } = rest as Record<string, Tensor>
    const { dUnembedding, ...found } = tokenLossGradients({
      ...{ h: h!, unembedding: unembedding!, labels: labels!, weights: weights!, ...(bias && { bias }) },
      accumulated: accumulated ?? unembedding!,
      ...(accumulatedBias && { accumulatedBias }),
    })
    // Without a place to add it to, the output embedding is frozen and its gradient is left out.
    return { ...found, ...(accumulated && { dUnembedding }) }
  })

  /** Loss and gradient of the final states (t e). */
  const rowsLoss = async (params: Params, grads: Params, h: FloatArray, labels: NDArray, weight: number) => {
    const picked = labelledRows(h, labels)
    const dh = floats(picked.h.shape)
    const [accumulated, accumulatedBias] = [grads[table], biasPath ? grads[biasPath] : undefined]
    let total = 0
    for (const rows of rowBlocks(picked.h.shape[0]!)) {
      const column = picked.labels.data.subarray(rows.start, rows.end)
      const weights = Float32Array.from(column, (label) => (label < 0 ? 0 : weight))
      const inputs: Arrays = {
        h: rowsOf(picked.h, rows),
        labels: labelRows(picked.labels, rows),
        weights: floats([column.length, 1], weights),
        ...outputEmbedding(config, params),
        ...(accumulated && { accumulated }),
        ...(accumulatedBias && { accumulatedBias }),
      }
      const found = await workspace.run('loss', loss, inputs, {
        dh: rowsOf(dh, rows),
        ...(accumulated && { dUnembedding: accumulated }),
        ...(accumulatedBias && { dBias: accumulatedBias }),
      })
      total += found.loss!.data[0]!
    }
    return { total, dh: picked.from ? scatteredRows(dh, picked.from, h.shape[0]!) : dh }
  }

  return {
    paths: [...headPaths, table, ...(biasPath ? [biasPath] : [])],
    async run(params, grads, x, { labels }, weight) {
      const given = { x, ...paramInputs(params, headPaths) }
      const h = (await workspace.run('h', headForward, given)).h as FloatArray
      const { total, dh } = await rowsLoss(params, grads, h, labels, weight)
      const wanted = ['x', ...headPaths.filter((path) => grads[path]).map((path) => `p.${path}`)]
      const d = await workspace.run('head-backward', headBackward(wanted), { dh, ...given })
      addGradients(grads, below('d.p.', d), kernels)
      return { total, dx: d['d.x']! }
    },
  }
}

/** One label per sequence: cross-entropy of classes, or the squared error of a number. */
function pooledEnd(config: ModelConfig, { functions, workspace, kernels }: BackwardParts): End {
  const headPaths = familyOf(config).headPaths(config)
  const pooled = (trained: readonly string[]) =>
    functions.get(`pooled ${trained}`, () => ({ labels, weights, ...inputs }) => {
      const lossOf = config.task === 'regression' ? squaredError : classLoss
      const total = sum(mul(lossOf(tracedClasses(config, inputs), labels!), weights!), undefined, false)
      const wanted = ['x', ...trained.map((path) => `p.${path}`)]
      const d = gradients(
        total,
        wanted.map((name) => inputs[name]!),
      )
      return { loss: total, ...Object.fromEntries(wanted.map((name, i) => [`d.${name}`, d[i]!])) }
    })
  return {
    paths: headPaths,
    async run(params, grads, x, { keyMask, labels }, weight) {
      checkClasses(config, labels, x.shape[0]!)
      const trained = headPaths.filter((path) => grads[path])
      const found = await workspace.run('pooled', pooled(trained), {
        x,
        ...(keyMask && { keyMask }),
        ...paramInputs(params, headPaths),
        ...column(labels, weight),
      })
      addGradients(grads, below('d.p.', found), kernels)
      return { total: found.loss!.data[0]!, dx: found['d.x']! }
    },
  }
}

/** Labels and weights as columns (b 1); classes below 0 weigh nothing. */
function column(labels: NDArray, weight: number): Arrays {
  const shape = [labels.data.length, 1]
  if (labels.dtype !== 'int32') {
    return { labels: { ...labels, shape }, weights: floats(shape, new Float32Array(shape[0]!).fill(weight)) }
  }
  const weights = Float32Array.from(labels.data, (label) => (label < 0 ? 0 : weight))
  return { labels: labelRows(labels, { start: 0, end: shape[0]! }), weights: floats(shape, weights) }
}

function checkClasses({ task, labels: classes }: ModelConfig, labels: NDArray, sequences: number): void {
  if (labels.data.length !== sequences) {
    throw new RangeError(`loss: got labels [${labels.shape}], want one for each of ${sequences} sequences`)
  }
  const dtype = task === 'regression' ? 'float32' : 'int32'
  if (labels.dtype !== dtype) throw new TypeError(`loss: got labels of ${labels.dtype}, want ${dtype} for ${task}`)
  const wrong = dtype === 'int32' ? labels.data.find((label) => label >= classes) : undefined
  if (wrong !== undefined) throw new RangeError(`loss: got class ${wrong}, want 0 to ${classes - 1}`)
}

function traceHead(config: ModelConfig, { x, ...params }: Tensors): Tensor {
  return reshape(familyOf(config).head(config, below('p.', params), x!), [-1, config.width])
}
