/** Checkpoints of flash-linear-attention (fla), model type `linear_attn`. */

import { floats } from '../base/array.ts'
import type { WrittenTensor } from '../io/safetensors.ts'
import type { ModelFiles } from '../models/files.ts'
import { writeJson } from '../models/folder.ts'
import type { Json, ModelConfig } from '../models/model.ts'
import { checkFamily, onePlan, refuse, specialIds, tensorOf, writeCheckpoint } from './checkpoints.ts'
import { writeTextFiles } from './folders.ts'
import type { Exported, ExportJob } from './target.ts'

const advice = 'export to onnx, or pass --inexact to write the weights for training further in fla'

/** Feature maps by their name there. */
const maps: Readonly<Record<string, { readonly name: string; readonly tied: boolean }>> = {
  'hedgehog-softmax-joint': { name: 'hedgehog', tied: false },
  'hedgehog-softmax-joint+tied': { name: 'hedgehog', tied: true },
  elu: { name: 'elu', tied: false },
  relu: { name: 'relu', tied: false },
}

/** What fla's layer does to every model, and hedgehog's does not. */
const differences = [
  'fla turns no queries and keys of linear layers by their positions: rotary embeddings are lost',
  'fla normalises what each head of a linear layer gives (RMSNorm): its scale is lost',
] as const

/** Writes config.json, model.safetensors and the tokenizer. @throws RangeError naming what fla cannot hold. */
export async function writeFla(job: ExportJob): Promise<Exported> {
  const { sink, model, options } = job
  const config = flaConfig(model.config)
  const hasLinear = model.config.attention.some(({ kind }) => kind === 'linear')
  const lost = hasLinear ? differences : []
  if (lost.length && !options.inexact) refuse('fla', `this model as it is: ${lost.join('; ')}`, advice)
  const file = await writeCheckpoint(sink, 'model.safetensors', flaTensors(model))
  await writeTextFiles(job)
  await writeJson(sink, 'config.json', config)
  return { files: [file], differences: lost }
}

function flaConfig(config: ModelConfig): Json {
  const { attention, json, width, heads, headDim, layers, inner, vocab, maxLength, epsilon } = config
  checkFamily('fla', config, ['llama', 'mistral'])
  for (const key of ['attention_bias', 'mlp_bias']) {
    if (json[key] === true) refuse('fla', `biases (config.json: ${key})`, 'want a model without them')
  }
  const { plan, softmaxLayers } = onePlan('fla', attention)
  const map = plan?.kind === 'linear' ? maps[plan.map] : undefined
  if (plan && !map) {
    const known = Object.keys(maps).join(', ')
    refuse('fla', `attention by ${plan.kind === 'linear' ? plan.map : plan.kind}`, `want the feature map ${known}`)
  }
  const keyHeads = Number(json.num_key_value_heads ?? heads)
  const rope = { ...Object(json.rope_parameters), ...Object(json.rope_scaling) } as Json
  if (softmaxLayers.length && (rope.rope_type ?? rope.type ?? 'default') !== 'default') {
    refuse('fla', `rotary embeddings of type ${rope.rope_type ?? rope.type}`, 'want those of type default')
  }
  const theta = Number(json.rope_theta ?? rope.rope_theta ?? 10000)
  return {
    model_type: 'linear_attn',
    architectures: ['LinearAttentionForCausalLM'],
    attn_mode: 'chunk',
    hidden_size: width,
    expand_k: (heads * headDim) / width,
    expand_v: (heads * headDim) / width,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_heads: heads,
    num_kv_heads: keyHeads,
    feature_map: map?.name ?? 'hedgehog',
    tie_feature_map_qk: map?.tied ?? false,
    norm_q: false,
    norm_k: false,
    // The denominator of linear attention, which is off there unless asked for.
    norm_feature_map: true,
    ...(softmaxLayers.length && {
      attn: { layers: softmaxLayers, num_heads: heads, num_kv_heads: keyHeads, qkv_bias: false, rope_theta: theta },
    }),
    hidden_act: 'swish',
    max_position_embeddings: maxLength,
    elementwise_affine: true,
    norm_eps: epsilon,
    vocab_size: vocab,
    tie_word_embeddings: json.tie_word_embeddings === true,
    ...specialIds(json),
  }
}

/** Paths there by what stands in ours. */
const renames: readonly (readonly [RegExp, string])[] = [
  [/^embed_tokens\./, 'embeddings.'],
  [/\.input_layernorm\./, '.attn_norm.'],
  [/\.post_attention_layernorm\./, '.mlp_norm.'],
  [/\.self_attn\./, '.attn.'],
]

function flaTensors(files: ModelFiles): WrittenTensor[] {
  const { attention, headDim } = files.config
  const tensors = files.paths.map((path) => renamed(tensorOf(files, 'fla', path)))
  for (const [layer, plan] of attention.entries()) {
    if (plan.kind !== 'linear') continue
    const prefix = `model.layers.${layer}.attn`
    const ones = floats([headDim], new Float32Array(headDim).fill(1))
    tensors.push({ name: `${prefix}.norm.weight`, shape: [headDim], dtype: 'float32', load: async () => ones })
    if (!maps[plan.map]?.tied) continue
    const queries = tensors.filter(({ name }) => name.startsWith(`${prefix}.feature_map_q.`))
    tensors.push(...queries.map((one) => ({ ...one, name: one.name.replace('feature_map_q', 'feature_map_k') })))
  }
  return tensors
}

function renamed(tensor: WrittenTensor): WrittenTensor {
  const name = renames.reduce((path, [from, to]) => path.replace(from, to), tensor.name)
  return { ...tensor, name: name.startsWith('lm_head.') ? name : `model.${name}` }
}
