/** GPT-2: learned positions, pre-norm blocks, tied output embedding; parameter names as in Hugging Face checkpoints. */

import { grouped } from '../attention/heads.ts'
import { planParams, readPlan } from '../attention/plan.ts'
import { add, gelu, split } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { joinHeads, layerNorm, layerNormParams, linear, linearParams, splitHeads } from '../nn/layers.ts'
import { below, prefixed } from '../nn/params.ts'
import { configReader } from './config.ts'
import type { Family, Json, ModelConfig } from './model.ts'

const std = 0.02

export const gpt2: Family = {
  readConfig(json) {
    const read = configReader('gpt2', json)
    const layers = read.size('n_layer')
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
      layers,
      heads,
      headDim: width / heads,
      width,
      inner: read.size('n_inner', 4 * width),
      vocab: read.size('vocab_size'),
      maxLength: read.size('n_positions', json.n_ctx as number | undefined),
      epsilon: read.positive('layer_norm_epsilon', 1e-5),
      causal: true,
      attention: plansOf(json, layers),
      json,
    }
  },

  writeConfig(config) {
    const linear = config.attention.some(({ kind }) => kind !== 'softmax')
    const { hedgehog: _, ...rest } = config.json
    // Another model_type than gpt2, so that no program reads linear weights as a softmax model.
    if (!linear) return { ...rest, model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] }
    return {
      ...rest,
      model_type: 'hedgehog_gpt2',
      architectures: ['HedgehogGPT2LMHeadModel'],
      hedgehog: { attention: config.attention },
    }
  },

  configOf({ layers, heads, width, vocab, maxLength, attention = { kind: 'softmax' } }) {
    const json: Json = {
      model_type: 'gpt2',
      architectures: ['GPT2LMHeadModel'],
      activation_function: 'gelu_new',
      n_layer: layers,
      n_head: heads,
      n_embd: width,
      n_positions: maxLength,
      n_ctx: maxLength,
      vocab_size: vocab,
      layer_norm_epsilon: 1e-5,
      initializer_range: std,
      tie_word_embeddings: true,
      attn_pdrop: 0,
      embd_pdrop: 0,
      resid_pdrop: 0,
    }
    return gpt2.readConfig({ ...json, hedgehog: { attention: Array(layers).fill(attention) } })
  },

  checkpointPrefix: 'transformer.',
  ignores: (path) => path === 'lm_head.weight' || /^h\.\d+\.attn\.(bias|masked_bias)$/.test(path),

  outerParams({ vocab, maxLength, width }) {
    return {
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

  embed: (rows) => add(rows['wte.weight']!, rows['wpe.weight']!),

  block({ heads, width, epsilon }, params, x, { attend, save, drop }) {
    const part = (name: string) => below(`${name}.`, params) as { weight: Tensor; bias: Tensor }
    const qkv = save('qkv', linear(part('attn.c_attn'), layerNorm(part('ln_1'), x, epsilon)))
    const [q, k, v] = split(qkv, [width, width, width], -1).map((t) => splitHeads(t, heads)) as [Tensor, Tensor, Tensor]
    const attended = save('attended', joinHeads(attend(grouped({ q, k, v }))))
    const middle = save('middle', add(x, drop(linear(part('attn.c_proj'), attended))))
    const inner = save('inner', linear(part('mlp.c_fc'), layerNorm(part('ln_2'), middle, epsilon)))
    return add(middle, drop(linear(part('mlp.c_proj'), gelu(inner))))
  },

  headPaths: ['ln_f.weight', 'ln_f.bias'],
  head: ({ epsilon }: ModelConfig, params: Tensors, x: Tensor) =>
    layerNorm({ weight: params['ln_f.weight']!, bias: params['ln_f.bias']! }, x, epsilon),
  unembedding: 'wte.weight',
}

function plansOf(json: Json, layers: number) {
  const plans = (json.hedgehog as Json | undefined)?.attention ?? Array(layers).fill({ kind: 'softmax' })
  if (!Array.isArray(plans) || plans.length !== layers) {
    throw new RangeError(`config.json: hedgehog.attention: want a list of ${layers} plans, one per layer`)
  }
  return plans.map((plan, layer) => readPlan(`config.json: hedgehog.attention[${layer}]`, plan))
}
