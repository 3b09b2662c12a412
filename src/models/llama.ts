/** Llama, and the families of its shape, Mistral and Qwen2: rotary positions, grouped keys, RMSNorm, gated feed-forward. */

import { grouped } from '../attention/heads.ts'
import { type AttentionPlan, planParams } from '../attention/plan.ts'
import { add, matmul, transpose } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import {
  dense,
  denseParams,
  joinHeads,
  lastReal,
  rmsNorm,
  rmsNormParams,
  rotary,
  splitHeads,
  swiglu,
} from '../nn/layers.ts'
import { below, prefixed } from '../nn/params.ts'
import { configReader } from './config.ts'
import type { Family, Json, ModelConfig } from './model.ts'
import { type Rope, readRope, rotaryTables } from './rope.ts'
import { isLanguage, isPooled, readPlans, readTask, savedJson, taskJson } from './task.ts'

const std = 0.02

/** What tells the families of Llama's shape apart. */
interface Variant {
  /** The model_type in config.json. */
  readonly family: string
  /** The reference library's name before `ForCausalLM`. */
  readonly name: string
  /** Which projections have biases. */
  biases(json: Json): { readonly qkv: boolean; readonly out: boolean; readonly mlp: boolean }
  /** Whether the positions of a layer see no further back than `sliding_window` says. */
  isWindowed(json: Json, layer: number): boolean
}

export const llama = llamaLike({
  family: 'llama',
  name: 'Llama',
  biases: ({ attention_bias: attention, mlp_bias: mlp }) => ({
    qkv: attention === true,
    out: attention === true,
    mlp: mlp === true,
  }),
  isWindowed: () => false,
})

export const mistral = llamaLike({
  family: 'mistral',
  name: 'Mistral',
  biases: () => ({ qkv: false, out: false, mlp: false }),
  isWindowed: ({ sliding_window: window }) => window !== null,
})

export const qwen2 = llamaLike({
  family: 'qwen2',
  name: 'Qwen2',
  biases: () => ({ qkv: true, out: false, mlp: false }),
  isWindowed(
    { use_sliding_window: used, sliding_window: window, layer_types: types, max_window_layers: first = 28 },
    layer,
  ) {
    if (used !== true || window === null) return false
    return Array.isArray(types) ? types[layer] === 'sliding_attention' : layer >= Number(first)
  },
})

/** The settings that this file alone needs, from the config.json that a config keeps. */
interface Details {
  readonly keyHeads: number
  readonly rope: Rope
}

function llamaLike({ family, name, biases, isWindowed }: Variant): Family {
  const architectures = {
    language: `${name}ForCausalLM`,
    classification: `${name}ForSequenceClassification`,
    regression: `${name}ForSequenceClassification`,
    features: `${name}Model`,
  }

  const detailsOf = ({ json, heads, headDim, maxLength }: Omit<ModelConfig, 'attention'>): Details => {
    const read = configReader(family, json)
    const rope = readRope(family, json, { headDim, maxLength })
    if (rope.dim !== headDim) {
      throw new Error(
        `config.json: partial_rotary_factor: got ${rope.dim / headDim} of a head turned, want 1 (${family})`,
      )
    }
    return {
      keyHeads: read.size('num_key_value_heads', heads),
      rope,
    }
  }

  const usualPlans = (json: Json, layers: number): AttentionPlan[] => {
    const windowed = (): AttentionPlan => {
      return { kind: 'window', window: configReader(family, json).size('sliding_window', 4096), sinks: 0 }
    }
    return Array.from({ length: layers }, (_, layer) => (isWindowed(json, layer) ? windowed() : { kind: 'softmax' }))
  }

  const isTied = ({ json }: ModelConfig) => json.tie_word_embeddings === true

  const self: Family = {
    architectures,

    readConfig(json) {
      const read = configReader(family, json)
      const layers = read.layers('num_hidden_layers')
      const width = read.size('hidden_size')
      const heads = read.size('num_attention_heads')
      if (json.head_dim == null) read.divides('num_attention_heads', 'hidden_size')
      if (json.num_key_value_heads != null) read.divides('num_key_value_heads', 'num_attention_heads')
      read.only('hidden_act', ['silu'], 'silu')
      for (const key of ['tie_word_embeddings', 'attention_bias', 'mlp_bias', 'use_sliding_window'])
        read.only(key, [true, false], false)
      const config = {
        family,
        ...readTask(json, architectures),
        layers,
        heads,
        headDim: read.size('head_dim', width / heads),
        width,
        inner: read.size('intermediate_size'),
        vocab: read.size('vocab_size'),
        maxLength: read.size('max_position_embeddings'),
        epsilon: read.positive('rms_norm_eps', 1e-6),
        causal: true,
        json,
      }
      // Read once here, so that what is wrong is said before any work.
      detailsOf(config)
      return { ...config, attention: readPlans(json, layers, usualPlans) }
    },

    writeConfig: (config) => savedJson(config, architectures, usualPlans),

    configOf(sizes) {
      const { layers, heads, width, attention = { kind: 'softmax' }, task = 'language', labels = 2 } = sizes
      const json: Json = {
        model_type: family,
        num_hidden_layers: layers,
        hidden_size: width,
        num_attention_heads: heads,
        num_key_value_heads: sizes.keyHeads ?? heads,
        // Three matrices of 8/3 · width hold as much as two of 4 · width (arXiv 2002.05202).
        intermediate_size: sizes.inner ?? 8 * Math.ceil(width / 3),
        vocab_size: sizes.vocab,
        max_position_embeddings: sizes.maxLength,
        rope_theta: 10000,
        rms_norm_eps: 1e-5,
        hidden_act: 'silu',
        initializer_range: std,
        tie_word_embeddings: true,
        ...(isWindowed({}, 0) && { sliding_window: null }),
      }
      const hedgehog = { attention: Array(layers).fill(attention) }
      return self.readConfig({ ...taskJson(json, architectures, task, labels), hedgehog })
    },

    checkpointPrefix: 'model.',
    unprefixed: ['lm_head.', 'score.'],
    ends: ['lm_head.', 'score.'],
    ignores: (path) => /^(lm_head|score)\.weight$|^layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/.test(path),

    outerParams(config) {
      const { vocab, width, task, labels } = config
      const table = { shape: [vocab, width], initial: { normal: std } }
      return {
        'embed_tokens.weight': table,
        ...prefixed('norm.', rmsNormParams(width)),
        ...(isLanguage(task) && !isTied(config) && { 'lm_head.weight': table }),
        ...(isPooled(task) && { 'score.weight': { shape: [labels, width], initial: { normal: std } } }),
      }
    },

    blockParams(config, layer) {
      const { layers, heads, headDim, width, inner, attention, json } = config
      const { keyHeads } = detailsOf(config)
      const has = biases(json)
      // The two projections into the residual stream start smaller, by the depth (GPT-2 report, section 2.3).
      const residual = std / Math.sqrt(2 * layers)
      return {
        ...prefixed('input_layernorm.', rmsNormParams(width)),
        ...prefixed('self_attn.q_proj.', denseParams(width, heads * headDim, std, has.qkv)),
        ...prefixed('self_attn.k_proj.', denseParams(width, keyHeads * headDim, std, has.qkv)),
        ...prefixed('self_attn.v_proj.', denseParams(width, keyHeads * headDim, std, has.qkv)),
        ...prefixed('self_attn.', planParams(attention[layer]!, { heads, headDim })),
        ...prefixed('self_attn.o_proj.', denseParams(heads * headDim, width, residual, has.out)),
        ...prefixed('post_attention_layernorm.', rmsNormParams(width)),
        ...prefixed('mlp.gate_proj.', denseParams(width, inner, std, has.mlp)),
        ...prefixed('mlp.up_proj.', denseParams(width, inner, std, has.mlp)),
        ...prefixed('mlp.down_proj.', denseParams(inner, width, residual, has.mlp)),
      }
    },

    blockPrefix: (layer) => `layers.${layer}.`,
    attentionPrefix: 'self_attn.',
    saved: ['q', 'k', 'v', 'attended', 'middle', 'gate', 'up'],
    drops: 2,
    lookups: [{ table: 'embed_tokens.weight', by: 'ids' }],
    embedPaths: [],
    embed: (_config, _params, rows) => rows['embed_tokens.weight']!,

    positional: (config, start, length) => rotaryTables(detailsOf(config).rope, { start, length }),

    block({ headDim, epsilon }, params, x, { attend, positional, save, drop }) {
      const part = (path: string) => below(`${path}.`, params) as { weight: Tensor; bias?: Tensor }
      const normal = rmsNorm(part('input_layernorm'), x, epsilon)
      const heads = (of: string) => {
        const projected = save(of, dense(part(`self_attn.${of}_proj`), normal))
        return splitHeads(projected, projected.shape[2]! / headDim)
      }
      const turned = (of: string) => rotary(heads(of), positional.cosine!, positional.sine!)
      const attended = attend(grouped({ q: turned('q'), k: turned('k'), v: heads('v') }))
      const joined = save('attended', joinHeads(attended))
      const middle = save('middle', add(x, drop(dense(part('self_attn.o_proj'), joined))))
      const inner = rmsNorm(part('post_attention_layernorm'), middle, epsilon)
      const gate = save('gate', dense(part('mlp.gate_proj'), inner))
      const up = save('up', dense(part('mlp.up_proj'), inner))
      return add(middle, drop(dense(part('mlp.down_proj'), swiglu(gate, up))))
    },

    headPaths: ({ task }) => ['norm.weight', ...(isPooled(task) ? ['score.weight'] : [])],
    head: ({ epsilon }, params, x) => rmsNorm({ weight: params['norm.weight']! }, x, epsilon),
    unembedding: (config) => ({ weight: isTied(config) ? 'embed_tokens.weight' : 'lm_head.weight' }),
    classify: (_config, params, h, keyMask) => matmul(lastReal(h, keyMask), transpose(params['score.weight']!)),
  }
  return self
}
