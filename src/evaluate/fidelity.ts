/** Fidelity: how near linear attention weights are to softmax's, per layer and head, on held-out text. */

import { divergence, entropy } from '../attention/distillation.ts'
import { attentionOf } from '../attention/plan.ts'
import { softmaxScores } from '../attention/softmax.ts'
import type { FloatArray, NDArray } from '../base/array.ts'
import { blockInputs, blockKey, functionCache, traceBlock } from '../execute/blocks.ts'
import { createForward } from '../execute/forward.ts'
import { matmul, mean, reshape } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Model } from '../models/model.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import { spearman } from './ranks.ts'

/** What was measured of one head; means over queries. */
export interface HeadFidelity {
  readonly layer: number
  readonly head: number
  /** KL(teacher ‖ student) in nats. */
  readonly kl: number
  readonly entropyTeacher: number
  readonly entropyStudent: number
  /** Mean over queries of Spearman's correlation of the student's weight with its q·k. */
  readonly monotonicity: number
}

/** Attention of one layer on one batch: weights and scores q·k/√d (b h l l). */
export interface LayerWeights {
  readonly layer: number
  readonly teacher: FloatArray
  readonly student: FloatArray
  /** The student's own q·k/√d, hidden positions very low. */
  readonly scores: FloatArray
}

/** Options of {@link layerWeights}. */
export interface FidelityOptions {
  /**
   * Whose hidden states the student's layers see: `teacher` compares the same queries and keys, layer by layer, as
   * distillation does; `student` is the student as it runs, with what its lower layers changed.
   */
  readonly stream: 'teacher' | 'student'
}

/** Attention weights of a teacher and a student beside each other, layer by layer. ids (b l). */
export async function* layerWeights(
  device: Device,
  teacher: Model,
  student: Model,
  ids: NDArray,
  { stream }: FidelityOptions,
): AsyncGenerator<LayerWeights> {
  const [source, target] = [shownAttention(device, teacher), shownAttention(device, student)]
  try {
    const shared = source.shared(ids)
    let x = await source.embed(ids)
    let own = stream === 'teacher' ? x : await target.embed(ids)
    for (let layer = 0; layer < teacher.config.layers; layer++) {
      const shown = await source.layer(layer, x, shared)
      const found = await target.layer(layer, own, shared)
      yield { layer, teacher: shown.weights, student: found.weights, scores: found.scores }
      x = shown.y
      own = stream === 'teacher' ? x : found.y
    }
  } finally {
    await source.dispose()
    await target.dispose()
  }
}

/** KL, entropies and monotonicity of every head, over batches of ids (b l). */
export async function fidelity(
  device: Device,
  teacher: Model,
  student: Model,
  batches: readonly NDArray[],
  options: FidelityOptions,
): Promise<HeadFidelity[]> {
  const functions = functionCache(device)
  const compare = functions.get('compare', () => ({ a, b }) => ({
    kl: perHead(divergence(a!, b!)),
    entropyTeacher: perHead(entropy(a!)),
    entropyStudent: perHead(entropy(b!)),
  }))
  const { layers, heads } = teacher.config
  const found = Array.from({ length: layers * heads }, (_, i) => ({
    layer: Math.floor(i / heads),
    head: i % heads,
    kl: 0,
    entropyTeacher: 0,
    entropyStudent: 0,
    monotonicity: 0,
  }))
  for (const ids of batches) {
    for await (const weights of layerWeights(device, teacher, student, ids, options)) {
      const { kl, entropyTeacher, entropyStudent } = await compare({ a: weights.teacher, b: weights.student })
      const steadiness = monotonicity(weights)
      for (let head = 0; head < heads; head++) {
        const own = found[weights.layer * heads + head]!
        own.kl += kl!.data[head]! / batches.length
        own.entropyTeacher += entropyTeacher!.data[head]! / batches.length
        own.entropyStudent += entropyStudent!.data[head]! / batches.length
        own.monotonicity += steadiness[head]! / batches.length
      }
    }
  }
  await functions.dispose()
  return found
}

/** A model's attention, layer by layer, with its weights shown. */
function shownAttention(device: Device, { config, params }: Model) {
  const forward = createForward(device, config)
  const functions = functionCache(device)
  const visibility = { causal: config.causal }
  return {
    embed: (ids: NDArray) => forward.embed(params, { ids }),
    shared: (ids: NDArray) => forward.shared({ ids }),
    async layer(layer: number, x: FloatArray, shared: Arrays) {
      const run = functions.get(blockKey(config, layer), () => (inputs) => {
        const plan = config.attention[layer]!
        const shown: Record<string, Tensor> = {}
        const y = traceBlock(config, layer, inputs, {
          attend:
            (own) =>
            ({ q, k, v }) => {
              const weights = attentionOf(plan).weights(own, { q, k }, visibility)
              Object.assign(shown, { weights, scores: softmaxScores(q, k, visibility) })
              return matmul(weights, v)
            },
        })
        return { y, ...shown }
      })
      const { y, weights, scores } = await run({ x, ...shared, ...blockInputs(config, params, layer) })
      return { y: y as FloatArray, weights: weights as FloatArray, scores: scores as FloatArray }
    },
    async dispose() {
      await forward.dispose()
      await functions.dispose()
    },
  }
}

/** Mean over batch and queries: (b h l 1) -> (h). */
function perHead(perQuery: Tensor): Tensor {
  return reshape(mean(perQuery, [0, 2, 3]), [perQuery.shape[1]!])
}

/** How many queries of each head the monotonicity is measured on. */
const sampledQueries = 32

/** Mean Spearman correlation per head, over queries spread over the later three quarters of each sequence. */
function monotonicity({ student, scores }: LayerWeights): number[] {
  const [b, h, l] = student.shape as readonly [number, number, number]
  const first = Math.min(Math.max(2, Math.floor(l / 4)), l - 1)
  const count = Math.min(sampledQueries, l - first)
  return Array.from({ length: h }, (_, head) => {
    let total = 0
    for (let i = 0; i < b * count; i++) {
      const query = first + Math.floor(((i % count) * (l - first)) / count)
      const row = ((Math.floor(i / count) * h + head) * l + query) * l
      const seen = query + 1
      total += spearman(scores.data.subarray(row, row + seen), student.data.subarray(row, row + seen))
    }
    return total / (b * count)
  })
}
