/** Tiny models for tests of the executor, and the same models as one float64 graph without it. */

import { type AttentionPlan, planName, planNamed } from '../../src/attention/plan.ts'
import { type FloatArray, floats, ints, type NDArray, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { traceBlock } from '../../src/execute/blocks.ts'
import { gather, mul, reshape, sum } from '../../src/graph/ops.ts'
import type { Tensor } from '../../src/graph/tensor.ts'
import type { Tensors } from '../../src/graph/trace.ts'
import { familyOf, newModel } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import type { Model, ModelConfig } from '../../src/models/model.ts'
import { tokenLoss } from '../../src/nn/loss.ts'
import { below, prefixed } from '../../src/nn/params.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { mapNames } from '../attention/examples.ts'
import { doubles, normals } from '../tensors.ts'

/** Linear attention with each map of the table, and each other kind. */
export const plans: readonly AttentionPlan[] = ['softmax', ...mapNames, 'hybrid:3', 'window:4:1', 'top-k:3'].map(
  (name) => planNamed(name),
)

export const nameOf = planName

const vocab = 11

/** A model with weights large enough for every part to matter. */
export function tinyModel(attention: AttentionPlan, layers = 2, maxLength = 12): Model {
  const { config, params } = newModel(
    gpt2.configOf({ layers, heads: 2, width: 6, vocab, maxLength, attention }),
    random(1),
  )
  const noise = random(2)
  const moved = Object.entries(params).map(([path, { shape, data }]) => {
    const by = normals(noise.split(path), shape, 0.2)
    return [
      path,
      floats(
        shape,
        data.map((x, i) => x + by.data[i]!),
      ),
    ] as const
  })
  return { config, params: Object.fromEntries(moved) }
}

/** Token ids (b l) and labels (b l), of which some do not count. */
export function tinyBatch(b: number, l: number, seed = 3): { ids: NDArray; labels: NDArray } {
  const rng = random(seed)
  const draw = () => Int32Array.from({ length: b * l }, () => rng.integer(vocab))
  const labels = draw().map((label, i) => (i % 5 === 3 ? -100 : label))
  return { ids: ints([b, l], draw()), labels: ints([b, l], labels) }
}

/** How many labels count. */
export const counted = ({ labels }: { labels: NDArray }): number => labels.data.filter((label) => label >= 0).length

export function zerosLike(like: Params, value = 0): Record<string, FloatArray> {
  return Object.fromEntries(
    Object.entries(like).map(([path, { shape, data }]) => [
      path,
      floats(shape, new Float32Array(data.length).fill(value)),
    ]),
  )
}

/** Inputs of {@link wholeLoss} in float64. */
export function wholeInputs(
  params: Params,
  { ids, labels }: { ids: NDArray; labels: NDArray },
  weight: number,
): Arrays {
  const l = ids.shape[1]!
  const flat = [ids.data.length, 1]
  return {
    ...prefixed(
      'm.',
      Object.fromEntries(
        Object.entries(params).map(([path, { shape, data }]) => [path, doubles(shape, Float64Array.from(data))]),
      ),
    ),
    ids,
    positions: ints(
      ids.shape,
      Int32Array.from(ids.data, (_, i) => i % l),
    ),
    labels: ints(
      flat,
      Int32Array.from(labels.data, (label) => Math.max(label, 0)),
    ),
    weights: doubles(
      flat,
      Float64Array.from(labels.data, (label) => (label < 0 ? 0 : weight)),
    ),
  }
}

/** Hidden states (t e) before the output embedding, in one graph. */
export function wholeHidden(config: ModelConfig, inputs: Tensors): Tensor {
  const family = familyOf(config)
  const params = below('m.', inputs)
  const rows = family.lookups.map(({ table, by }) => [table, gather(params[table]!, inputs[by]!)] as const)
  let x = family.embed(Object.fromEntries(rows))
  for (let layer = 0; layer < config.layers; layer++) {
    x = traceBlock(config, layer, { x, ...prefixed('p.', below(family.blockPrefix(layer), params)) })
  }
  return reshape(family.head(config, params, x), [-1, config.width])
}

/** Σ weight · loss in one graph. */
export function wholeLoss(config: ModelConfig, inputs: Tensors): Tensor {
  const unembedding = inputs[`m.${familyOf(config).unembedding}`]!
  const nll = tokenLoss({ h: wholeHidden(config, inputs), unembedding, labels: inputs.labels! })
  return sum(mul(nll, inputs.weights!), [0, 1], false)
}
