import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { describe, it } from 'node:test'
import type { FloatArray, Params } from '../../src/base/array.ts'
import type { ExportOptions } from '../../src/deploy/target.ts'
import { exportModel, exportTargets, type TargetName } from '../../src/deploy/targets.ts'
import { mapsFrom } from '../../src/io/mapNames.ts'
import { openSafetensors } from '../../src/io/safetensors.ts'
import type { Tokenizer } from '../../src/io/tokenizer.ts'
import { filesOf, type ModelFiles, openModelFiles } from '../../src/models/files.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { qwen2 } from '../../src/models/llama.ts'
import type { Json, Model } from '../../src/models/model.ts'
import { noisyModel } from '../execute/tiny.ts'
import { folder } from '../folder.ts'
import { device } from '../tensors.ts'
import { gpt, llamaOf, openIn } from './exports.ts'

const tokenizer: Tokenizer = { encode: () => new Int32Array(0), decode: () => '', vocabSize: 1, json: { model: {} } }

async function written(to: TargetName, model: ModelFiles, options: ExportOptions = {}) {
  const sink = folder()
  const open = (file: string) => {
    const beside = Object.entries(sink.files).map(([path, bytes]) => [basename(path), bytes] as const)
    return openIn(Object.fromEntries(beside), basename(file))
  }
  const done = await exportModel(to, {
    ...{ model, tokenizer, source: folder(), sink, written: sink, open, device, options },
  })
  const json = (path: string): Json => JSON.parse(new TextDecoder().decode(sink.files[path]))
  return { ...done, sink, json }
}

async function tensors(sink: ReturnType<typeof folder>, path: string): Promise<Params> {
  const file = await openSafetensors(sink, path)
  const entries = await Promise.all(file.names.map(async (name) => [name, await file.tensor(name)] as const))
  return Object.fromEntries(entries)
}

const values = ({ shape, data }: FloatArray) => ({ shape: [...shape], data: [...data] })

describe('a checkpoint of fla', () => {
  it("has every weight under fla's name, maps among them, and a config that builds such a model", async () => {
    const model = llamaOf('hedgehog-softmax-joint', { layers: 2, tied: false })
    const { sink, json, differences } = await written('fla', filesOf(model), { inexact: true })
    assert.equal(differences!.length, 2)
    const found = await tensors(sink, 'model.safetensors')
    const back = Object.fromEntries(
      Object.entries(mapsFrom('fla', found)).map(([name, array]) => [
        name
          .replace(/^model\./, '')
          .replace('embeddings.', 'embed_tokens.')
          .replace('.attn_norm.', '.input_layernorm.')
          .replace('.mlp_norm.', '.post_attention_layernorm.')
          .replace('.attn.', '.self_attn.'),
        array,
      ]),
    )
    for (const [path, array] of Object.entries(model.params)) assert.deepEqual(values(back[path]!), values(array), path)
    const extra = Object.keys(back).filter((path) => !(path in model.params))
    assert.deepEqual(extra, ['layers.0.self_attn.norm.weight', 'layers.1.self_attn.norm.weight'])
    const config = json('config.json')
    const { model_type, feature_map, norm_feature_map, num_heads, num_kv_heads, expand_k } = config
    assert.deepEqual(
      { model_type, feature_map, norm_feature_map, num_heads, num_kv_heads, expand_k },
      {
        model_type: 'linear_attn',
        feature_map: 'hedgehog',
        norm_feature_map: true,
        num_heads: 4,
        num_kv_heads: 2,
        expand_k: 1,
      },
    )
  })

  it('has the maps of queries for keys too where they share one', async () => {
    const model = llamaOf('hedgehog-softmax-joint+tied')
    const { sink, json } = await written('fla', filesOf(model), { inexact: true })
    const found = await tensors(sink, 'model.safetensors')
    const [q, k] = ['q', 'k'].map((side) => found[`model.layers.0.attn.feature_map_${side}.layer.weight`]!)
    assert.deepEqual(values(k!), values(q!))
    assert.equal(json('config.json').tie_feature_map_qk, true)
  })

  it('is refused as it is, as fla has no rotary positions in linear layers and normalises their heads', async () => {
    await assert.rejects(written('fla', filesOf(llamaOf('hedgehog-softmax-joint'))), {
      name: 'RangeError',
      message:
        /^export: fla cannot hold this model as it is: fla turns no queries.*; fla normalises .* lost; export to onnx, or pass --inexact/,
    })
  })
})

describe('a checkpoint of LoLCATs', () => {
  it('is the softmax model beside the maps, which together are the model', async () => {
    const model = llamaOf('hedgehog-softmax+half', { layers: 2 })
    const { sink } = await written('lolcats', filesOf(model))
    const base = await loadModel(sink)
    assert.deepEqual(
      base.config.attention.map(({ kind }) => kind),
      ['softmax', 'softmax'],
    )
    const attention = await tensors(sink, 'attention.safetensors')
    assert.deepEqual(Object.keys(attention)[0], 'model.layers.0.self_attn.feature_map_k.mlp.layer')
    const maps = Object.fromEntries(
      Object.entries(mapsFrom('lolcats', attention)).map(([path, array]) => [path.replace(/^model\./, ''), array]),
    )
    const all = { ...base.params, ...maps }
    assert.deepEqual(Object.keys(all).sort(), Object.keys(model.params).sort())
    for (const [path, array] of Object.entries(model.params)) assert.deepEqual(values(all[path]!), values(array), path)
    const yaml = new TextDecoder().decode(sink.files['lolcats.yaml'])
    for (const line of [
      '  attention_type: "lolcats_llama"',
      '    feature_dim: 4',
      '    eps: 1.0e-12',
      'name: "llama"',
    ]) {
      assert.ok(yaml.split('\n').includes(line), `${line} in\n${yaml}`)
    }
  })

  it('has windows and their gates, and names the layers that stay softmax', async () => {
    const model = llamaOf('hybrid:5', { layers: 2 })
    const plans = [{ kind: 'softmax' } as const, model.config.attention[1]!]
    const params = Object.fromEntries(
      Object.entries(model.params).filter(([path]) => !/^layers\.0\.self_attn\.(feature_map|window)/.test(path)),
    )
    const { sink } = await written('lolcats', filesOf({ config: { ...model.config, attention: plans }, params }))
    const attention = await tensors(sink, 'attention.safetensors')
    assert.deepEqual([...attention['model.layers.1.self_attn.window_factors']!.shape], [1, 4, 1, 1])
    const yaml = new TextDecoder().decode(sink.files['lolcats.yaml'])
    for (const line of [
      '  attention_type: "lolcats_llama_window_sw"',
      '  window_size: 5',
      '  softmax_attentions: [0]',
    ]) {
      assert.ok(yaml.split('\n').includes(line), `${line} in\n${yaml}`)
    }
  })
})

describe('what a format cannot hold is refused by name', () => {
  const inexact = { inexact: true }
  const cases: readonly [string, TargetName, () => Model, ExportOptions, RegExp][] = [
    ['another family', 'fla', () => gpt('elu'), inexact, /fla cannot hold a gpt2 model; want llama or mistral/],
    ['another family', 'lolcats', () => gpt('elu'), {}, /LoLCATs cannot hold a gpt2 model; want llama or mistral/],
    [
      'other maps',
      'fla',
      () => llamaOf('hedgehog'),
      inexact,
      /attention by hedgehog-exp; want the feature map hedgehog-soft/,
    ],
    ['other maps', 'lolcats', () => llamaOf('elu'), {}, /LoLCATs cannot hold attention by elu; want hedgehog-softmax/],
    ['exponential maps', 'lolcats', () => llamaOf('hedgehog'), {}, /its exponential map scales every key by itself/],
    ['biases of maps', 'lolcats', () => llamaOf('hedgehog-softmax+bias'), {}, /attention by hedgehog-softmax\+bias;/],
    ['windows', 'fla', () => llamaOf('window:4'), inexact, /fla cannot hold attention by window; want the feature map/],
    [
      'nothing converted',
      'lolcats',
      () => llamaOf('softmax'),
      {},
      /a model of softmax attention alone; convert it first/,
    ],
    ['biases', 'fla', () => qwen(), inexact, /fla cannot hold a qwen2 model/],
    [
      'an option of others',
      'lolcats',
      () => llamaOf('hedgehog-softmax'),
      { type: 'int8' },
      /lolcats takes no type, want no/,
    ],
  ]
  for (const [what, to, build, options, message] of cases) {
    it(`${what}, by ${to}`, async () => {
      await assert.rejects(written(to, filesOf(build()), options), { name: 'RangeError', message })
    })
  }

  it('two maps in one model, by both', async () => {
    const model = llamaOf('hedgehog-softmax', { layers: 2 })
    const attention = [model.config.attention[0]!, { kind: 'linear', map: 'elu' } as const]
    for (const to of ['fla', 'lolcats'] as const) {
      await assert.rejects(
        written(to, filesOf({ ...model, config: { ...model.config, attention } }), to === 'fla' ? inexact : {}),
        {
          message: /cannot hold layers of hedgehog-softmax and elu in one model; want one attention beside softmax/,
        },
      )
    }
  })
})

describe('the table of targets', () => {
  for (const to of Object.keys(exportTargets) as TargetName[]) {
    it(`has ${to}, which is of stored weights what it is of those in memory, to the byte`, async () => {
      const model = llamaOf(to === 'fla' ? 'hedgehog-softmax-joint' : 'hedgehog-softmax', { layers: 2, tied: false })
      const stored = folder()
      await saveModel(stored, model, { dtype: 'bfloat16' })
      const options = to === 'fla' ? { inexact: true } : {}
      const [streamed, whole] = [await openModelFiles(stored), filesOf(await loadModel(stored))]
      const [got, want] = [await written(to, streamed, options), await written(to, whole, options)]
      assert.deepEqual(got.sink.files, want.sink.files)
      assert.ok(want.files.length > 0)
    })
  }

  it('has a summary of each that fits a line of help', () => {
    for (const { summary } of Object.values(exportTargets)) assert.ok(summary.length <= 100, summary)
  })
})

function qwen(): Model {
  return noisyModel(qwen2.configOf({ layers: 1, heads: 2, width: 8, vocab: 9, maxLength: 8 }))
}
