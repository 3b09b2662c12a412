/** Tiny models for tests of the executor, and the same models as one float64 graph without it. */

import { type AttentionPlan, planName, planNamed } from '../../src/attention/plan.ts'
import { type FloatArray, floats, ints, type NDArray, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { traceBlock } from '../../src/execute/blocks.ts'
import type { Batch } from '../../src/execute/objective.ts'
import { gather, mul, reshape, sum } from '../../src/graph/ops.ts'
import type { Tensor } from '../../src/graph/tensor.ts'
import type { Tensors } from '../../src/graph/trace.ts'
import { familyOf, newModel } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import type { Model, ModelConfig } from '../../src/models/model.ts'
import { isLanguage } from '../../src/models/task.ts'
import { classLoss, squaredError, tokenLoss } from '../../src/nn/loss.ts'
import { below, prefixed } from '../../src/nn/params.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { mapNames } from '../attention/examples.ts'
import { doubles, normals } from '../tensors.ts'

/** Linear attention with each map of the table, and each other kind. */
export const plans: readonly AttentionPlan[] = [
  'softmax',
  ...mapNames,
  'hybrid:3',
  'hybrid:3:2',
  'window:4:1',
  'top-k:3',
].map((name) => planNamed(name))

export const nameOf = planName

const vocab = 11

/** A GPT-2 with weights large enough for every part to matter. */
export function tinyModel(attention: AttentionPlan, layers = 2, maxLength = 12): Model {
  return noisyModel(gpt2.configOf({ layers, heads: 2, width: 6, vocab, maxLength, attention }))
}

/** A model of any config with weights large enough for every part to matter. */
export function noisyModel(wanted: ModelConfig): Model {
  const { config, params } = newModel(wanted, random(1))
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
export function wholeInputs(params: Params, { ids, labels, keyMask, types }: Batch, weight: number): Arrays {
  const flat = [labels.data.length, 1]
  const double = ({ shape, data }: NDArray) => doubles(shape, Float64Array.from(data))
  const classes = labels.dtype === 'int32'
  return {
    ...Object.fromEntries(Object.entries(params).map(([path, array]) => [`m.${path}`, double(array)])),
    ids: ids.dtype === 'int32' ? ids : double(ids),
    types: types ?? ints(ids.shape.slice(0, 2)),
    positions: ints(
      ids.shape.slice(0, 2),
      Int32Array.from({ length: ids.shape[0]! * ids.shape[1]! }, (_, i) => i % ids.shape[1]!),
    ),
    labels: classes
      ? ints(
          flat,
          Int32Array.from(labels.data, (label) => Math.max(label, 0)),
        )
      : double({ ...labels, shape: flat }),
    weights: doubles(
      flat,
      Float64Array.from(labels.data, (label) => (classes && label < 0 ? 0 : weight)),
    ),
    ...(keyMask && { keyMask: double(keyMask) }),
  }
}

/** The final states (b l e) in one graph. */
function wholeStates(config: ModelConfig, inputs: Tensors): Tensor {
  const family = familyOf(config)
  const params = below('m.', inputs)
  const rows = family.lookups.map(({ table, by }) => [table, gather(params[table]!, inputs[by]!)] as const)
  let x = family.embed(config, params, family.lookups.length ? Object.fromEntries(rows) : { patches: inputs.ids! })
  const { keyMask } = inputs
  const positional = prefixed('pos.', below('pos.', inputs))
  for (let layer = 0; layer < config.layers; layer++) {
    const own = prefixed('p.', below(family.blockPrefix(layer), params))
    x = traceBlock(config, layer, { x, ...own, ...positional, ...(keyMask && { keyMask }) })
  }
  return family.head(config, params, x)
}

/** Hidden states (t e) before the output embedding, in one graph. */
export function wholeHidden(config: ModelConfig, inputs: Tensors): Tensor {
  return reshape(wholeStates(config, inputs), [-1, config.width])
}

/** Σ weight · loss in one graph. */
export function wholeLoss(config: ModelConfig, inputs: Tensors): Tensor {
  const family = familyOf(config)
  const labels = inputs.labels!
  const lossOf = () => {
    if (isLanguage(config.task)) {
      const { weight, bias } = family.unembedding(config)
      const own = { unembedding: inputs[`m.${weight}`]!, ...(bias && { bias: inputs[`m.${bias}`]! }) }
      return tokenLoss({ h: wholeHidden(config, inputs), labels, ...own })
    }
    const logits = family.classify(config, below('m.', inputs), wholeStates(config, inputs), inputs.keyMask)
    return config.task === 'regression' ? squaredError(logits, labels) : classLoss(logits, labels)
  }
  return sum(mul(lossOf(), inputs.weights!), [0, 1], false)
}
