/** BERT (arXiv 1810.04805): a post-norm encoder that sees both ways; parameter names as in Hugging Face checkpoints. */

import { grouped } from '../attention/heads.ts'
import { planParams } from '../attention/plan.ts'
import { add, tanh } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { dense, denseParams, firstOf, joinHeads, layerNorm, layerNormParams, splitHeads } from '../nn/layers.ts'
import { below, prefixed } from '../nn/params.ts'
import { activationNames, activationOf } from './activations.ts'
import { configReader } from './config.ts'
import type { Family, Json } from './model.ts'
import { isPooled, readPlans, readTask, savedJson, taskJson } from './task.ts'

const std = 0.02

const architectures = {
  'masked-language': 'BertForMaskedLM',
  classification: 'BertForSequenceClassification',
  regression: 'BertForSequenceClassification',
  features: 'BertModel',
} as const

const words = 'embeddings.word_embeddings.weight'
const positions = 'embeddings.position_embeddings.weight'
const types = 'embeddings.token_type_embeddings.weight'
const pooledPaths = ['pooler.dense.weight', 'pooler.dense.bias', 'classifier.weight', 'classifier.bias']
const transformPaths = ['dense.weight', 'dense.bias', 'LayerNorm.weight', 'LayerNorm.bias'].map(
  (path) => `cls.predictions.transform.${path}`,
)

export const bert: Family = {
  architectures,

  readConfig(json) {
    const read = configReader('bert', json)
    const layers = read.layers('num_hidden_layers')
    const width = read.size('hidden_size')
    const heads = read.size('num_attention_heads')
    read.divides('num_attention_heads', 'hidden_size')
    read.only('hidden_act', activationNames, 'gelu')
    read.only('position_embedding_type', ['absolute'], 'absolute')
    read.only('is_decoder', [false], false)
    read.only('add_cross_attention', [false], false)
    read.only('tie_word_embeddings', [true], true)
    return {
      family: 'bert',
      ...readTask(json, architectures),
      layers,
      heads,
      headDim: width / heads,
      width,
      inner: read.size('intermediate_size'),
      vocab: read.size('vocab_size'),
      maxLength: read.size('max_position_embeddings', 512),
      epsilon: read.positive('layer_norm_eps', 1e-12),
      causal: false,
      attention: readPlans(json, layers),
      json: { ...json, type_vocab_size: read.size('type_vocab_size', 2) },
    }
  },

  writeConfig: (config) => savedJson(config, architectures),

  configOf(sizes) {
    const { layers, width, attention = { kind: 'softmax' }, task = 'masked-language', labels = 2 } = sizes
    const json: Json = {
      model_type: 'bert',
      hidden_act: 'gelu',
      num_hidden_layers: layers,
      num_attention_heads: sizes.heads,
      hidden_size: width,
      intermediate_size: sizes.inner ?? 4 * width,
      max_position_embeddings: sizes.maxLength,
      vocab_size: sizes.vocab,
      type_vocab_size: 2,
      layer_norm_eps: 1e-12,
      initializer_range: std,
      tie_word_embeddings: true,
      hidden_dropout_prob: 0,
      attention_probs_dropout_prob: 0,
    }
    const hedgehog = { attention: Array(layers).fill(attention) }
    return bert.readConfig({ ...taskJson(json, architectures, task, labels), hedgehog })
  },

  checkpointPrefix: 'bert.',
  unprefixed: ['cls.', 'classifier.'],
  ends: ['cls.predictions.', 'pooler.', 'classifier.'],
  ignores: (path) => /^(cls|pooler|classifier)\.|^embeddings\.position_ids$/.test(path),
  // Checkpoints that TensorFlow's were made into have the older names.
  renamed: (path) =>
    path.replace(/LayerNorm\.gamma$/, 'LayerNorm.weight').replace(/LayerNorm\.beta$/, 'LayerNorm.bias'),

  outerParams({ vocab, maxLength, width, task, labels, json }) {
    const normal = { normal: std }
    return {
      [words]: { shape: [vocab, width], initial: normal },
      [positions]: { shape: [maxLength, width], initial: normal },
      [types]: { shape: [json.type_vocab_size as number, width], initial: normal },
      ...prefixed('embeddings.LayerNorm.', layerNormParams(width)),
      ...(task === 'masked-language' && {
        ...prefixed('cls.predictions.transform.dense.', denseParams(width, width, std)),
        ...prefixed('cls.predictions.transform.LayerNorm.', layerNormParams(width)),
        'cls.predictions.bias': { shape: [vocab], initial: 'zeros' },
      }),
      ...(isPooled(task) && {
        ...prefixed('pooler.dense.', denseParams(width, width, std)),
        ...prefixed('classifier.', denseParams(width, labels, std)),
      }),
    }
  },

  blockParams({ heads, headDim, width, inner, attention }, layer) {
    const square = denseParams(width, width, std)
    return {
      ...prefixed('attention.self.query.', square),
      ...prefixed('attention.self.key.', square),
      ...prefixed('attention.self.value.', square),
      ...prefixed('attention.self.', planParams(attention[layer]!, { heads, headDim })),
      ...prefixed('attention.output.dense.', square),
      ...prefixed('attention.output.LayerNorm.', layerNormParams(width)),
      ...prefixed('intermediate.dense.', denseParams(width, inner, std)),
      ...prefixed('output.dense.', denseParams(inner, width, std)),
      ...prefixed('output.LayerNorm.', layerNormParams(width)),
    }
  },

  blockPrefix: (layer) => `encoder.layer.${layer}.`,
  attentionPrefix: 'attention.self.',
  saved: ['q', 'k', 'v', 'attended', 'middle', 'inner'],
  drops: 2,
  lookups: [
    { table: words, by: 'ids' },
    { table: positions, by: 'positions' },
    { table: types, by: 'types' },
  ],

  embedPaths: ['embeddings.LayerNorm.weight', 'embeddings.LayerNorm.bias'],
  embed: ({ epsilon }, params, rows) =>
    layerNorm(part(params, 'embeddings.LayerNorm'), add(add(rows[words]!, rows[types]!), rows[positions]!), epsilon),

  block({ heads, epsilon, json }, params, x, { attend, save, drop }) {
    const projected = (name: string, module: string) =>
      splitHeads(save(name, dense(part(params, `attention.self.${module}`), x)), heads)
    const [q, k, v] = [projected('q', 'query'), projected('k', 'key'), projected('v', 'value')]
    const attended = save('attended', joinHeads(attend(grouped({ q, k, v }))))
    const branch = drop(dense(part(params, 'attention.output.dense'), attended))
    const middle = save('middle', layerNorm(part(params, 'attention.output.LayerNorm'), add(x, branch), epsilon))
    const inner = save('inner', dense(part(params, 'intermediate.dense'), middle))
    const output = drop(dense(part(params, 'output.dense'), activationOf(json)(inner)))
    return layerNorm(part(params, 'output.LayerNorm'), add(middle, output), epsilon)
  },

  headPaths: ({ task }) => (isPooled(task) ? pooledPaths : task === 'masked-language' ? transformPaths : []),
  head({ epsilon, json, task }, params, x) {
    if (task !== 'masked-language') return x
    const transform = below('cls.predictions.transform.', params)
    return layerNorm(part(transform, 'LayerNorm'), activationOf(json)(dense(part(transform, 'dense'), x)), epsilon)
  },
  unembedding: () => ({ weight: words, bias: 'cls.predictions.bias' }),
  classify: (_config, params, h) =>
    dense(part(params, 'classifier'), tanh(dense(part(params, 'pooler.dense'), firstOf(h)))),
}

/** Weight and bias of a module. */
function part(params: Tensors, module: string): { weight: Tensor; bias: Tensor } {
  return { weight: params[`${module}.weight`]!, bias: params[`${module}.bias`]! }
}
