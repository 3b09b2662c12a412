/** What distillation computes of a layer, as functions to trace: the teacher, the student's loss, both in one. */

import { type DistillLoss, type Imitation, imitation, queryPart } from '../attention/distillation.ts'
import type { Heads } from '../attention/heads.ts'
import { attentionOf } from '../attention/plan.ts'
import { softmaxAttention } from '../attention/softmax.ts'
import { traceBlock } from '../execute/blocks.ts'
import { gradients } from '../graph/gradient.ts'
import { mean, mul, reshape, slice, sum } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { below } from '../nn/params.ts'

/**
 * One layer's part as a function to trace: from the inputs of its block, the shared inputs and a `factor`, the teacher's
 * output `y`, the loss times that factor, and its gradient `d.PATH` for each path of the block that is trained.
 * @throws RangeError while it is traced when the layer's attention has no feature map.
 */
export function layerImitation(config: ModelConfig, layer: number, kind: DistillLoss, trained: readonly string[]) {
  return ({ factor, ...inputs }: Tensors): Tensors => {
    const student = studentOf(config, layer)
    let loss: Tensor | undefined
    const y = traceBlock(config, layer, inputs, {
      attend: (params, visibility) => (heads) => {
        const found = imitation(student, params, heads, visibility, kind)
        loss = summed(found, factor!, visibility.keyMask)
        return found.y
      },
    })
    return { y, ...withGradients(loss!, inputs, trained) }
  }
}

/** One layer's teacher: from the inputs of its block its output `y`, and the heads that it attends with. */
export function layerTeacher(config: ModelConfig, layer: number) {
  return (inputs: Tensors): Tensors => {
    let heads: Heads | undefined
    const y = traceBlock(config, layer, inputs, {
      attend: (_params, visibility) => (given) => {
        heads = given
        return softmaxAttention(given.q, given.k, given.v, visibility)
      },
    })
    return { y, ...heads! }
  }
}

/** Which of a layer's queries are imitated: one of `count` equal parts. */
export interface Part {
  readonly part: number
  readonly count: number
}

/** The loss on a part of a layer's queries and its gradients, from the teacher's heads, `keyMask`, a `factor` and the maps. */
export function headsImitation(
  config: ModelConfig,
  layer: number,
  kind: DistillLoss,
  trained: readonly string[],
  at: Part,
) {
  return ({ q, k, v, factor, keyMask, ...inputs }: Tensors): Tensors => {
    const heads = queryPart({ q: q!, k: k!, v: v! }, at.part, at.count)
    const end = heads.k.shape[2]!
    const upTo = keyMask && slice(keyMask, 1, 0, end)
    const params = below(familyOf(config).attentionPrefix, below('p.', inputs))
    const visibility = { causal: config.causal, ...(upTo && { keyMask: upTo }) }
    const found = imitation(studentOf(config, layer), params, heads, visibility, kind)
    const loss = summed(found, factor!, upTo && slice(upTo, 1, end - heads.q.shape[2]!, end))
    return withGradients(loss, inputs, trained)
  }
}

function studentOf(config: ModelConfig, layer: number) {
  const plan = config.attention[layer]!
  if (!('map' in plan)) throw new RangeError(`distill: layer ${layer} attends by ${plan.kind}, want a feature map`)
  return attentionOf(plan)
}

/** The mean over heads, summed over real queries, times a factor. */
function summed(found: Imitation, factor: Tensor, real?: Tensor): Tensor {
  const perQuery = mean(found.loss, [1])
  return mul(sum(real ? mul(perQuery, reshape(real, perQuery.shape)) : perQuery, undefined, false), factor)
}

function withGradients(loss: Tensor, inputs: Tensors, trained: readonly string[]): Tensors {
  const wrt = trained.map((path) => inputs[`p.${path}`]!)
  const d = trained.length ? gradients(loss, wrt) : []
  return { loss, ...Object.fromEntries(trained.map((path, i) => [`d.${path}`, d[i]!])) }
}
