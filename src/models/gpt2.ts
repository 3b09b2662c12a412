/** GPT-2: learned positions, pre-norm blocks, tied output embedding; parameter names as in Hugging Face checkpoints. */

import { grouped } from '../attention/heads.ts'
import { planParams } from '../attention/plan.ts'
import { add, gelu, matmul, split, transpose } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import { joinHeads, lastReal, layerNorm, layerNormParams, linear, linearParams, splitHeads } from '../nn/layers.ts'
import { below, prefixed } from '../nn/params.ts'
import { configReader } from './config.ts'
import type { Family, Json } from './model.ts'
import { isPooled, readPlans, readTask, savedJson, taskJson } from './task.ts'

const std = 0.02

const architectures = {
  language: 'GPT2LMHeadModel',
  classification: 'GPT2ForSequenceClassification',
  regression: 'GPT2ForSequenceClassification',
  features: 'GPT2Model',
} as const

export const gpt2: Family = {
  architectures,

  readConfig(json) {
    const read = configReader('gpt2', json)
    const layers = read.layers('n_layer')
    const width = read.size('n_embd')
    const heads = read.size('n_head')
    read.divides('n_head', 'n_embd')
    read.only('activation_function', ['gelu_new', 'gelu_pytorch_tanh'], 'gelu_new')
    read.only('scale_attn_weights', [true], true)
    read.only('scale_attn_by_inverse_layer_idx', [false], false)
    read.only('tie_word_embeddings', [true], true)
    read.only('add_cross_attention', [false], false)
    return {
      family: 'gpt2',
      ...readTask(json, architectures),
      layers,
      heads,
      headDim: width / heads,
      width,
      inner: read.size('n_inner', 4 * width),
      vocab: read.size('vocab_size'),
      maxLength: read.size('n_positions', json.n_ctx as number | undefined),
      epsilon: read.positive('layer_norm_epsilon', 1e-5),
      causal: true,
      attention: readPlans(json, layers),
      json,
    }
  },

  writeConfig: (config) => savedJson(config, architectures),

  configOf({
    layers,
    heads,
    width,
    vocab,
    maxLength,
    inner,
    attention = { kind: 'softmax' },
    task = 'language',
    labels = 2,
  }) {
    const json: Json = {
      model_type: 'gpt2',
      activation_function: 'gelu_new',
      n_layer: layers,
      n_head: heads,
      n_embd: width,
      n_positions: maxLength,
      n_ctx: maxLength,
      vocab_size: vocab,
      ...(inner && { n_inner: inner }),
      layer_norm_epsilon: 1e-5,
      initializer_range: std,
      tie_word_embeddings: true,
      attn_pdrop: 0,
      embd_pdrop: 0,
      resid_pdrop: 0,
    }
    const hedgehog = { attention: Array(layers).fill(attention) }
    return gpt2.readConfig({ ...taskJson(json, architectures, task, labels), hedgehog })
  },

  checkpointPrefix: 'transformer.',
  unprefixed: ['score.'],
  ends: ['score.'],
  ignores: (path) => /^(lm_head|score)\.weight$|^h\.\d+\.attn\.(bias|masked_bias)$/.test(path),

  outerParams({ vocab, maxLength, width, task, labels }) {
    return {
      ...(isPooled(task) && { 'score.weight': { shape: [labels, width], initial: { normal: std } } }),
      'wte.weight': { shape: [vocab, width], initial: { normal: std } },
      'wpe.weight': { shape: [maxLength, width], initial: { normal: std / 2 } },
      ...prefixed('ln_f.', layerNormParams(width)),
    }
  },

  blockParams({ layers, heads, headDim, width, inner, attention }, layer) {
    // The two projections into the residual stream start smaller, by the depth (GPT-2 report, section 2.3).
    const residual = std / Math.sqrt(2 * layers)
    return {
      ...prefixed('ln_1.', layerNormParams(width)),
      ...prefixed('attn.c_attn.', linearParams(width, 3 * width, std)),
      ...prefixed('attn.', planParams(attention[layer]!, { heads, headDim })),
      ...prefixed('attn.c_proj.', linearParams(width, width, residual)),
      ...prefixed('ln_2.', layerNormParams(width)),
      ...prefixed('mlp.c_fc.', linearParams(width, inner, std)),
      ...prefixed('mlp.c_proj.', linearParams(inner, width, residual)),
    }
  },

  blockPrefix: (layer) => `h.${layer}.`,
  attentionPrefix: 'attn.',
  saved: ['qkv', 'attended', 'middle', 'inner'],
  drops: 2,
  lookups: [
    { table: 'wte.weight', by: 'ids' },
    { table: 'wpe.weight', by: 'positions' },
  ],

  embedPaths: [],
  embed: (_config, _params, rows) => add(rows['wte.weight']!, rows['wpe.weight']!),

  block({ heads, width, epsilon }, params, x, { attend, save, drop }) {
    const part = (name: string) => below(`${name}.`, params) as { weight: Tensor; bias: Tensor }
    const qkv = save('qkv', linear(part('attn.c_attn'), layerNorm(part('ln_1'), x, epsilon)))
    const [q, k, v] = split(qkv, [width, width, width], -1).map((t) => splitHeads(t, heads)) as [Tensor, Tensor, Tensor]
    const attended = save('attended', joinHeads(attend(grouped({ q, k, v }))))
    const middle = save('middle', add(x, drop(linear(part('attn.c_proj'), attended))))
    const inner = save('inner', linear(part('mlp.c_fc'), layerNorm(part('ln_2'), middle, epsilon)))
    return add(middle, drop(linear(part('mlp.c_proj'), gelu(inner))))
  },

  headPaths: ({ task }) => ['ln_f.weight', 'ln_f.bias', ...(isPooled(task) ? ['score.weight'] : [])],
  head: ({ epsilon }, params, x) =>
    layerNorm({ weight: params['ln_f.weight']!, bias: params['ln_f.bias']! }, x, epsilon),
  unembedding: () => ({ weight: 'wte.weight' }),
  classify: (_config, params, h, keyMask) => matmul(lastReal(h, keyMask), transpose(params['score.weight']!)),
}
