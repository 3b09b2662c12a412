/**
 * `node --import tsx scripts/llama-shape.ts FOLDER [--layers 32]`: a checkpoint of Llama-2 7B's shape with random weights, as
 * sharded safetensors in float16 (13.5 GB), to try on it what is for models larger than memory. Its tokenizer is the
 * bundled one.
 */

import { cpSync, mkdirSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { sizeOf } from '../src/base/array.ts'
import { random } from '../src/base/random.ts'
import { toFloat16 } from '../src/io/half.ts'

const { values, positionals } = parseArgs({
  options: { layers: { type: 'string', default: '32' } },
  allowPositionals: true,
})
const [folder] = positionals
if (!folder) throw new Error('llama-shape: want the folder to write to')
const layers = Number(values.layers)
const [width, inner, vocab] = [4096, 11008, 32000]

const shapes = new Map<string, readonly number[]>([['model.embed_tokens.weight', [vocab, width]]])
for (let layer = 0; layer < layers; layer++) {
  const at = `model.layers.${layer}.`
  for (const name of ['q', 'k', 'v', 'o']) shapes.set(`${at}self_attn.${name}_proj.weight`, [width, width])
  for (const name of ['gate', 'up']) shapes.set(`${at}mlp.${name}_proj.weight`, [inner, width])
  shapes.set(`${at}mlp.down_proj.weight`, [width, inner])
  for (const name of ['input_layernorm', 'post_attention_layernorm']) shapes.set(`${at}${name}.weight`, [width])
}
shapes.set('model.norm.weight', [width])
shapes.set('lm_head.weight', [vocab, width])

/** Normal numbers of which every weight takes a run, from a place of its own. */
const pool = drawn(2 ** 22)
const ones = toFloat16(new Float32Array(width).fill(1))

mkdirSync(folder, { recursive: true })
const perShard = 11
const names = [...shapes.keys()]
const groups: string[][] = []
for (const name of names) {
  const layer = Number(/layers\.(\d+)\./.exec(name)?.[1] ?? (name === 'model.embed_tokens.weight' ? 0 : layers - 1))
  const shard = Math.floor(layer / perShard)
  groups[shard] ??= []
  groups[shard]!.push(name)
}
const fileOf = (shard: number) => `model-${pad(shard + 1)}-of-${pad(groups.length)}.safetensors`
const map: Record<string, string> = {}
for (const [shard, group] of groups.entries()) {
  for (const name of group) map[name] = fileOf(shard)
  await writeShard(join(folder, fileOf(shard)), group, shard)
  console.log(fileOf(shard))
}
const total = [...shapes.values()].reduce((sum, shape) => sum + 2 * sizeOf(shape), 0)
await json('model.safetensors.index.json', { metadata: { total_size: total }, weight_map: map })
await json('config.json', {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: width,
  intermediate_size: inner,
  num_hidden_layers: layers,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  vocab_size: vocab,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  tie_word_embeddings: false,
})
cpSync(fileURLToPath(new URL('../models/tiny/tokenizer.json', import.meta.url)), join(folder, 'tokenizer.json'))

async function writeShard(path: string, group: readonly string[], seed: number): Promise<void> {
  const header: Record<string, unknown> = {}
  let offset = 0
  for (const name of group) {
    const shape = shapes.get(name)!
    const end = offset + 2 * sizeOf(shape)
    header[name] = { dtype: 'F16', shape, data_offsets: [offset, end] }
    offset = end
  }
  const text = new TextEncoder().encode(JSON.stringify(header))
  const start = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20)
  new DataView(start.buffer).setBigUint64(0, BigInt(start.length - 8), true)
  start.set(text, 8)
  const file = await open(path, 'w')
  await file.write(start)
  const rng = random(seed).split('places')
  for (const name of group) {
    const isNorm = name.includes('norm')
    for (let left = sizeOf(shapes.get(name)!); left > 0; ) {
      const from = isNorm ? 0 : rng.integer(pool.length / 2)
      const words = isNorm ? ones : pool.subarray(from, from + Math.min(left, pool.length / 2))
      await file.write(new Uint8Array(words.buffer, words.byteOffset, words.byteLength))
      left -= words.length
    }
  }
  await file.close()
}

function drawn(count: number): Uint16Array {
  const rng = random(0).split('weights')
  return toFloat16(Float32Array.from({ length: count }, () => 0.02 * rng.normal()))
}

function pad(number: number): string {
  return String(number).padStart(5, '0')
}

function json(file: string, value: unknown): Promise<void> {
  return writeFile(join(folder!, file), `${JSON.stringify(value, null, 2)}\n`)
}
