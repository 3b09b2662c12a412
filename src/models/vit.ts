/** ViT (arXiv 2010.11929): a pre-norm encoder of image patches; parameter names as in Hugging Face checkpoints. */

import { grouped } from '../attention/heads.ts'
import { planParams } from '../attention/plan.ts'
import { add, concat, expand, reshape } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { dense, denseParams, firstOf, joinHeads, layerNorm, layerNormParams, splitHeads } from '../nn/layers.ts'
import { prefixed } from '../nn/params.ts'
import { activationNames, activationOf } from './activations.ts'
import { configReader } from './config.ts'
import type { Family, Json, ModelConfig } from './model.ts'
import { isPooled, readPlans, readTask, savedJson, taskJson } from './task.ts'

const std = 0.02

const architectures = {
  classification: 'ViTForImageClassification',
  regression: 'ViTForImageClassification',
  features: 'ViTModel',
} as const

const classToken = 'embeddings.cls_token'
const positions = 'embeddings.position_embeddings'
const projection = 'embeddings.patch_embeddings.projection'

/** How a model cuts images: squares of `side` pixels in patches of `patch`, with so many colours. */
export interface ImageSizes {
  readonly side: number
  readonly patch: number
  readonly channels: number
}

/** The image sizes of a ViT's config. @throws TypeError for a model that reads no images. */
export function imageSizes({ family, json }: ModelConfig): ImageSizes {
  if (family !== 'vit') throw new TypeError(`imageSizes: got a ${family}, want a model that reads images`)
  return { side: json.image_size as number, patch: json.patch_size as number, channels: json.num_channels as number }
}

export const vit: Family = {
  architectures,

  readConfig(json) {
    const read = configReader('vit', json)
    const layers = read.layers('num_hidden_layers')
    const width = read.size('hidden_size')
    const heads = read.size('num_attention_heads')
    read.divides('num_attention_heads', 'hidden_size')
    read.only('hidden_act', activationNames, 'gelu')
    read.only('qkv_bias', [true, false], true)
    const sizes = {
      image_size: read.size('image_size', 224),
      patch_size: read.size('patch_size', 16),
      num_channels: read.size('num_channels', 3),
    }
    const whole = { ...json, ...sizes }
    configReader('vit', whole).divides('patch_size', 'image_size')
    return {
      family: 'vit',
      ...readTask(json, architectures),
      layers,
      heads,
      headDim: width / heads,
      width,
      inner: read.size('intermediate_size', 4 * width),
      vocab: 0,
      maxLength: (sizes.image_size / sizes.patch_size) ** 2 + 1,
      epsilon: read.positive('layer_norm_eps', 1e-12),
      causal: false,
      attention: readPlans(json, layers),
      json: whole,
    }
  },

  writeConfig: (config) => savedJson(config, architectures),

  configOf({
    layers,
    heads,
    width,
    inner,
    image,
    attention = { kind: 'softmax' },
    task = 'classification',
    labels = 2,
  }) {
    if (!image) throw new TypeError('vit.configOf: got no image sizes, want image: { side, patch }')
    const json: Json = {
      model_type: 'vit',
      hidden_act: 'gelu',
      num_hidden_layers: layers,
      num_attention_heads: heads,
      hidden_size: width,
      intermediate_size: inner ?? 4 * width,
      image_size: image.side,
      patch_size: image.patch,
      num_channels: image.channels ?? 3,
      qkv_bias: true,
      layer_norm_eps: 1e-12,
      initializer_range: std,
      hidden_dropout_prob: 0,
      attention_probs_dropout_prob: 0,
    }
    const hedgehog = { attention: Array(layers).fill(attention) }
    return vit.readConfig({ ...taskJson(json, architectures, task, labels), hedgehog })
  },

  checkpointPrefix: 'vit.',
  unprefixed: ['classifier.'],
  ends: ['classifier.'],
  ignores: (path) => /^(classifier|pooler)\.|^embeddings\.mask_token$/.test(path),

  outerParams(config) {
    const { width, task, labels, maxLength } = config
    const { patch, channels } = imageSizes(config)
    const normal = { normal: std }
    return {
      [classToken]: { shape: [1, 1, width], initial: normal },
      [positions]: { shape: [1, maxLength, width], initial: normal },
      [`${projection}.weight`]: { shape: [width, channels, patch, patch], initial: normal },
      [`${projection}.bias`]: { shape: [width], initial: 'zeros' },
      ...prefixed('layernorm.', layerNormParams(width)),
      ...(isPooled(task) && prefixed('classifier.', denseParams(width, labels, std))),
    }
  },

  blockParams({ heads, headDim, width, inner, attention, json }, layer) {
    const projected = denseParams(width, width, std, json.qkv_bias !== false)
    return {
      ...prefixed('layernorm_before.', layerNormParams(width)),
      ...prefixed('attention.attention.query.', projected),
      ...prefixed('attention.attention.key.', projected),
      ...prefixed('attention.attention.value.', projected),
      ...prefixed('attention.attention.', planParams(attention[layer]!, { heads, headDim })),
      ...prefixed('attention.output.dense.', denseParams(width, width, std)),
      ...prefixed('layernorm_after.', layerNormParams(width)),
      ...prefixed('intermediate.dense.', denseParams(width, inner, std)),
      ...prefixed('output.dense.', denseParams(inner, width, std)),
    }
  },

  blockPrefix: (layer) => `encoder.layer.${layer}.`,
  attentionPrefix: 'attention.attention.',
  saved: ['q', 'k', 'v', 'attended', 'middle', 'inner'],
  drops: 2,
  lookups: [],
  embedPaths: [classToken, positions, `${projection}.weight`, `${projection}.bias`],
  prepended: 1,

  embed(config, params, { patches }) {
    const { side, patch, channels } = imageSizes(config)
    const [b, n, p] = patches!.shape
    const [count, size] = [config.maxLength - 1, channels * patch ** 2]
    if (n !== count || p !== size) {
      const images = `${side}×${side} pixels in patches of ${patch}`
      throw new RangeError(`vit: got patches [${patches!.shape}], want [${b}, ${count}, ${size}]: images of ${images}`)
    }
    const { weight, bias } = part(params, projection)
    const embedded = dense({ weight: reshape(weight, [config.width, size]), ...(bias && { bias }) }, patches!)
    const first = expand(params[classToken]!, [b!, 1, config.width])
    return add(concat([first, embedded], 1), params[positions]!)
  },

  block({ heads, epsilon, json }, params, x, { attend, save, drop }) {
    const before = layerNorm(part(params, 'layernorm_before'), x, epsilon)
    const projected = (name: string, module: string) =>
      splitHeads(save(name, dense(part(params, `attention.attention.${module}`), before)), heads)
    const [q, k, v] = [projected('q', 'query'), projected('k', 'key'), projected('v', 'value')]
    const attended = save('attended', joinHeads(attend(grouped({ q, k, v }))))
    const middle = save('middle', add(x, drop(dense(part(params, 'attention.output.dense'), attended))))
    const after = layerNorm(part(params, 'layernorm_after'), middle, epsilon)
    const inner = save('inner', dense(part(params, 'intermediate.dense'), after))
    return add(middle, drop(dense(part(params, 'output.dense'), activationOf(json)(inner))))
  },

  headPaths: ({ task }) => [
    ...['layernorm.weight', 'layernorm.bias'],
    ...(isPooled(task) ? ['classifier.weight', 'classifier.bias'] : []),
  ],
  head: ({ epsilon }, params, x) => layerNorm(part(params, 'layernorm'), x, epsilon),
  unembedding() {
    throw new TypeError('vit: predicts no tokens')
  },
  classify: (_config, params, h) => dense(part(params, 'classifier'), firstOf(h)),
}

/** Weight and bias of a module; the queries, keys and values of some models have no bias. */
function part(params: Tensors, module: string): { weight: Tensor; bias: Tensor } {
  return { weight: params[`${module}.weight`]!, bias: params[`${module}.bias`]! }
}
