import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { openCheckpoint } from '../../src/io/checkpoint.ts'
import { modelFolder } from '../../src/io/ggufFolder.ts'
import { readJsonObject } from '../../src/io/json.ts'
import { openSafetensors } from '../../src/io/safetensors.ts'
import { loadTokenizer } from '../../src/io/tokenizer.ts'
import { folderSource } from '../../src/node/files.ts'
import { folder } from '../folder.ts'
import { ggufFile } from '../ggufFile.ts'

const fixture = (name: string) => new Uint8Array(readFileSync(`test/fixtures/gguf/${name}`))
const golden = JSON.parse(readFileSync('test/fixtures/gguf/llama.json', 'utf8'))
const llama = () => modelFolder(folder({ 'llama.gguf': fixture('llama.gguf'), 'README.md': new Uint8Array() }))

test('tensors have the names and the order of rows of Hugging Face, to the bit', async () => {
  const want = await openSafetensors(folder({ w: fixture('llama.safetensors') }), 'w')
  const opened = await openCheckpoint(await llama())
  assert.deepEqual([...opened.names].sort(), [...want.names].sort())
  for (const name of want.names) assert.deepEqual(await opened.tensor(name), await want.tensor(name), name)
})

test('config.json is made from the metadata', async () => {
  const { model_type, architectures, head_dim, hidden_act, ...config } = await readJsonObject(
    await llama(),
    'config.json',
  )
  assert.deepEqual([model_type, architectures, head_dim, hidden_act], ['llama', ['LlamaForCausalLM'], 4, 'silu'])
  const { attention_bias, mlp_bias, rope_scaling, ...rest } = config
  assert.deepEqual([attention_bias, mlp_bias, rope_scaling], [false, false, null])
  assert.deepEqual(rest, golden.config)
})

test('tokenizer.json gives the ids of the tokenizer that it was made from, and the text again', async () => {
  const tokenizer = await loadTokenizer(await llama())
  for (const { text, ids } of golden.texts) {
    assert.deepEqual([...tokenizer.encode(text)], ids, JSON.stringify(text))
    assert.equal(tokenizer.decode(ids), text)
  }
})

test('special tokens and the template of a chat are kept', async () => {
  const config = await readJsonObject(await llama(), 'tokenizer_config.json')
  assert.equal(config.chat_template, golden.chat_template)
  assert.deepEqual(
    [config.bos_token, config.eos_token, config.unk_token],
    ['<|im_start|>', '<|im_end|>', '<|endoftext|>'],
  )
  assert.equal(config.add_bos_token, false)
})

test('only what a folder lacks is made; of several files one must be named', async () => {
  const source = await llama()
  assert.deepEqual(await source.list(), ['config.json', 'llama.gguf', 'tokenizer.json', 'tokenizer_config.json'])
  const own = new TextEncoder().encode('{"own":true}')
  const beside = await modelFolder(folder({ 'llama.gguf': fixture('llama.gguf'), 'tokenizer.json': own }))
  assert.deepEqual(await readJsonObject(beside, 'tokenizer.json'), { own: true })
  assert.equal((await readJsonObject(beside, 'config.json')).model_type, 'llama')
  const other = folder({ 'model.safetensors': own, 'llama.gguf': fixture('llama.gguf') })
  assert.equal(await modelFolder(other), other)
  const two = folder({ 'a.gguf': own, 'b.gguf': own })
  await assert.rejects(modelFolder(two), { message: /has several GGUF files, a\.gguf, b\.gguf; name one of them/ })
})

test('what is no Llama, or no byte-level BPE, is refused by its key', async () => {
  await assert.rejects(openCheckpoint(folder({ 'm.gguf': fixture('types.gguf') })), {
    message: 'memory/m.gguf: general.architecture: got "test", want one of llama',
  })
  const replaced = (from: string, to: string) => {
    const bytes = Buffer.from(fixture('llama.gguf'))
    const at = bytes.indexOf(from)
    bytes.write(to, at)
    return modelFolder(folder({ 'm.gguf': new Uint8Array(bytes) }))
  }
  await assert.rejects(async () => readJsonObject(await replaced('gpt2', 'bert'), 'tokenizer.json'), {
    message: /^memory\/m\.gguf: tokenizer\.ggml\.model: got "bert", want gpt2;/,
  })
  await assert.rejects(async () => readJsonObject(await replaced('smollm', 'smolln'), 'tokenizer.json'), {
    message: /tokenizer\.ggml\.pre: got "smolln", want one of gpt-2/,
  })
  await assert.rejects(
    async () => readJsonObject(await replaced('llama.block_count', 'llama.block_cound'), 'config.json'),
    {
      message: /llama\.block_count: got nothing, want a number/,
    },
  )
})

/** A Llama of one block without its weights, but for factors of rotary frequencies. */
function llamaWith(factors: readonly number[], pairs: Record<string, string | number> = {}) {
  const metadata = {
    'general.architecture': 'llama',
    'llama.attention.head_count': 3,
    'llama.embedding_length': 48,
    'llama.feed_forward_length': 5,
    'llama.block_count': 1,
    'llama.context_length': 2048,
    'llama.rope.freq_base': 500000,
    'llama.attention.layer_norm_rms_epsilon': 1,
    ...pairs,
  }
  const tensors = { 'token_embd.weight': { values: [1, 2] }, 'rope_freqs.weight': { values: factors } }
  return modelFolder(folder({ 'm.gguf': ggufFile({ pairs: metadata, tensors }) }))
}

test("factors of rotary frequencies become the scaling that they were made from, as transformers' frequencies tell", async () => {
  const { cases } = JSON.parse(readFileSync('test/fixtures/rope.json', 'utf8'))
  const { config, frequencies } = cases.find(({ name }: { name: string }) => name === 'llama3')
  const factors = frequencies.map((scaled: number, i: number) => config.rope_theta ** (-i / 8) / scaled)
  const made = await readJsonObject(await llamaWith(factors), 'config.json')
  assert.deepEqual(made.rope_scaling, config.rope_scaling)
  const names = (await openCheckpoint(await llamaWith(factors))).names
  assert.deepEqual(names, ['model.embed_tokens.weight'])
  const even = await readJsonObject(await llamaWith(factors.map(() => 1)), 'config.json')
  assert.equal(even.rope_scaling, null)
  const other = factors.toSpliced(2, 1, 3)
  await assert.rejects(async () => readJsonObject(await llamaWith(other), 'config.json'), /are no scaling of Llama 3;/)
})

test('scalings that the metadata names are those of config.json', async () => {
  const scaled = async (pairs: Record<string, string | number>) => {
    const named = Object.entries(pairs).map(([key, value]) => [`llama.rope.scaling.${key}`, value])
    return (await readJsonObject(await llamaWith([1], Object.fromEntries(named)), 'config.json')).rope_scaling
  }
  assert.deepEqual(await scaled({ type: 'linear', factor: 4 }), { rope_type: 'linear', factor: 4 })
  const yarn = await scaled({ type: 'yarn', factor: 4, original_context_length: 512 })
  assert.deepEqual(yarn, { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 512 })
  await assert.rejects(scaled({ type: 'longrope' }), /llama\.rope\.scaling\.type: got "longrope"/)
})

const smollm = '.cache/models/smollm2-135m-instruct'
const isThere = existsSync(smollm)

test('SmolLM2-135M-Instruct in Q4_1 reads as a Llama', { skip: !isThere && `${smollm} is not there` }, async () => {
  const source = await modelFolder(folderSource(smollm))
  const config = await readJsonObject(source, 'config.json')
  assert.deepEqual([config.num_hidden_layers, config.rms_norm_eps, config.rope_theta], [30, 1e-5, 100000])
  const checkpoint = await openCheckpoint(source)
  assert.equal(checkpoint.names.length, 272)
  assert.deepEqual(checkpoint.shape('model.layers.29.self_attn.k_proj.weight'), [192, 576])
  const { data } = await checkpoint.tensor('model.layers.0.self_attn.q_proj.weight')
  assert.ok(data.every(Number.isFinite))
  const tokenizer = await loadTokenizer(source)
  const text = '<|im_start|>user\nWhat is 1234 + 5?<|im_end|>\n'
  assert.equal(tokenizer.decode(tokenizer.encode(text)), text)
})
