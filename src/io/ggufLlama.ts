/** Llama models of GGUF files as Hugging Face has them: names, config.json, and the order of rows of rotary weights. */

import { type FloatArray, floats } from '../base/array.ts'
import type { GgufFile } from './gguf.ts'
import { show } from './json.ts'
import type { Checkpoint } from './tensors.ts'

/** Parts of a block: what llama.cpp calls them, and what Hugging Face does. */
const parts: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
}

const outer: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
}

/** Factors of rotary frequencies; config.json says them as a scaling. */
const frequencies = 'rope_freqs.weight'

/** The Hugging Face name of a tensor; one that is not known stays as it is, to be named in a complaint. */
export function llamaName(name: string): string {
  if (Object.hasOwn(outer, name)) return outer[name]!
  const [, layer, part, kind] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? []
  return part && Object.hasOwn(parts, part) ? `model.layers.${layer}.${parts[part]}.${kind}` : name
}

/**
 * The tensors by their Hugging Face names. llama.cpp turns neighbouring pairs of a head's dimensions, Hugging Face the
 * first half against the second, so rows of query and key weights are put back into that order.
 */
export function llamaCheckpoint(where: string, file: GgufFile): Checkpoint {
  const read = metadataReader(where, file)
  const heads = read.size('attention.head_count')
  const keyHeads = read.size('attention.head_count_kv', heads)
  const weights = file.names.filter((name) => name !== frequencies)
  const names = new Map(weights.map((name) => [llamaName(name), name]))
  if (names.size !== weights.length) throw new Error(`${where}: has two tensors for one parameter`)
  const stored = (name: string): string => {
    const found = names.get(name)
    if (found !== undefined) return found
    throw new Error(`${where}: has no tensor ${name}`)
  }
  return {
    names: [...names.keys()],
    shape: (name) => file.shape(stored(name)),
    dtype: (name) => file.dtype(stored(name)),
    async tensor(name) {
      const array = await file.tensor(stored(name))
      const [, which] = /\.attn_([qk])\.\w+$/.exec(stored(name)) ?? []
      return which ? halvesOfHeads(`${where}: ${name}`, array, which === 'q' ? heads : keyHeads) : array
    },
  }
}

/** Rows of every head from the order 0 d/2 1 d/2+1 … to 0 1 2 …. */
function halvesOfHeads(where: string, { shape, data }: FloatArray, heads: number): FloatArray {
  const half = shape[0]! / heads / 2
  if (!Number.isInteger(half)) throw new Error(`${where}: got ${shape[0]} rows, want an even number for ${heads} heads`)
  const width = data.length / shape[0]!
  const ordered = new Float32Array(data.length)
  for (let row = 0; row < shape[0]!; row++) {
    const [head, inside] = [Math.floor(row / (2 * half)), row % (2 * half)]
    const from = head * 2 * half + 2 * (inside % half) + Math.floor(inside / half)
    ordered.set(data.subarray(from * width, (from + 1) * width), row * width)
  }
  return floats(shape, ordered)
}

/** The config.json of the model. @throws Error naming the key of the metadata that is missing or not supported. */
export async function llamaConfig(where: string, file: GgufFile): Promise<Readonly<Record<string, unknown>>> {
  const read = metadataReader(where, file)
  const [heads, width] = [read.size('attention.head_count'), read.size('embedding_length')]
  if (file.metadata.has('llama.expert_count')) throw new Error(`${where}: is a mixture of experts, which is not read`)
  const theta = read.number('rope.freq_base', 10000)
  const headDim = read.size('attention.key_length', width / heads)
  const length = read.size('context_length')
  const scaling = read.scaling() ?? (await frequencyScaling(where, file, theta, headDim))
  const token = (key: string) => {
    const id = file.metadata.get(`tokenizer.ggml.${key}_token_id`)
    return typeof id === 'number' ? { [`${key.replace('padding', 'pad')}_token_id`]: id } : {}
  }
  return {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    hidden_size: width,
    intermediate_size: read.size('feed_forward_length'),
    num_hidden_layers: read.size('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: read.size('attention.head_count_kv', heads),
    head_dim: headDim,
    vocab_size: file.shape('token_embd.weight')[0],
    max_position_embeddings: length,
    rms_norm_eps: read.number('attention.layer_norm_rms_epsilon'),
    rope_theta: theta,
    rope_scaling: scaling ?? null,
    hidden_act: 'silu',
    attention_bias: file.names.includes('blk.0.attn_q.bias'),
    mlp_bias: file.names.includes('blk.0.ffn_up.bias'),
    tie_word_embeddings: !file.names.includes('output.weight'),
    ...token('bos'),
    ...token('eos'),
    ...token('padding'),
  }
}

function metadataReader(where: string, { metadata }: GgufFile) {
  const number = (key: string, otherwise?: number): number => {
    const value = metadata.get(`llama.${key}`) ?? otherwise
    if (typeof value === 'number' && Number.isFinite(value)) return plain(value)
    throw new Error(`${where}: llama.${key}: got ${show(value)}, want a number`)
  }
  const size = (key: string, otherwise?: number): number => {
    const value = number(key, otherwise)
    if (Number.isInteger(value) && value > 0) return value
    throw new Error(`${where}: llama.${key}: got ${value}, want a whole number from 1`)
  }
  const scaling = () => {
    const type = metadata.get('llama.rope.scaling.type') ?? 'none'
    if (type === 'none') return undefined
    if (type !== 'linear' && type !== 'yarn') {
      throw new Error(`${where}: llama.rope.scaling.type: got ${show(type)}, want none, linear or yarn`)
    }
    const scaling = { rope_type: type, factor: number('rope.scaling.factor') }
    if (type === 'linear') return scaling
    return { ...scaling, original_max_position_embeddings: size('rope.scaling.original_context_length') }
  }
  return { number, size, scaling }
}

/** A float32 as the shortest decimal that is nearest to no other: 1e-5 instead of 0.00000999999974. */
function plain(value: number): number {
  const short = Number(value.toPrecision(7))
  return Math.fround(short) === Math.fround(value) ? short : value
}

/** Lengths that models are trained with before their rotary frequencies are scaled. */
const originalLengths = Array.from({ length: 12 }, (_, i) => 2 ** (i + 9))

/**
 * The scaling of Llama 3.1 that gives the stored factors of frequencies, if there are any.
 * @throws Error when none does: a model that turns otherwise would be wrong at every position.
 */
async function frequencyScaling(where: string, file: GgufFile, theta: number, headDim: number) {
  if (!file.names.includes(frequencies)) return undefined
  const { data } = await file.tensor(frequencies)
  const factor = data.reduce((most, value) => Math.max(most, value), 1)
  if (factor === 1) return undefined
  for (const length of data.length === headDim / 2 ? originalLengths : []) {
    const isMet = data.every((found, i) => {
      const smooth = (length / (2 * Math.PI * theta ** ((2 * i) / headDim)) - low) / (high - low)
      const want = smooth <= 0 ? factor : smooth >= 1 ? 1 : 1 / ((1 - smooth) / factor + smooth)
      return Math.abs(found - want) <= 1e-4 * want
    })
    const scaling = { factor: plain(factor), low_freq_factor: low, high_freq_factor: high }
    if (isMet) return { rope_type: 'llama3', ...scaling, original_max_position_embeddings: length }
  }
  throw new Error(`${where}: ${frequencies}: these factors are no scaling of Llama 3; use the model's safetensors`)
}

/** Wavelengths in the original length between which frequencies are scaled in part, as in all models so far. */
const [low, high] = [1, 4]
