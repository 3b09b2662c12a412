/** `hedgehog finetune` on each kind of data, interrupted and resumed, with adapters merged and kept; and `convert --lora`. */

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { loadModel } from '../../src/models/folder.ts'
import { folderSource } from '../../src/node/files.ts'
import { hedgehog } from './hedgehog.ts'

let folder = ''
const at = (name: string) => join(folder, name)

async function succeeds(argv: readonly string[]) {
  const found = await hedgehog([...argv, '--json'])
  assert.equal(found.code, 0, found.err)
  return JSON.parse(found.out.trimEnd().split('\n').at(-1)!)
}

const tune = (data: string, out: string, ...more: readonly string[]) => [
  ...['finetune', at('model'), '--data', at(data), '--out', at(out), '--steps', '4', '--batch', '2', '--lr', '0.01'],
  ...more,
]
const open = (name: string) => loadModel(folderSource(at(name)))
const json = async (name: string, file = 'config.json') => JSON.parse(await readFile(join(at(name), file), 'utf8'))
const weights = (name: string) => readFile(join(at(name), 'model.safetensors'), 'latin1')

const sentences = [
  'a hedgehog sleeps all winter',
  'the fox reads the news',
  'rain falls on the garden',
  'who ate the last pear',
]
const chats = ['a', 'b', 'c', 'd'].map((prompt, i) => JSON.stringify({ prompt, completion: `n ${i}` }))
const table = [...sentences, ...sentences].map((text, i) => `"${text}",${i % 2 ? 'odd' : 'even'}`)

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-finetune-'))
  await writeFile(at('text.txt'), `${sentences.join('.\n')}.\n`.repeat(20))
  await writeFile(at('chats.jsonl'), `${chats.join('\n')}\n`)
  await writeFile(at('table.csv'), ['text,label', ...table].join('\n'))
  await writeFile(at('one.csv'), 'text,label\na,x\nb,x\n')
  const sizes = '--layers 1 --width 8 --heads 2 --length 16 --vocab 270 --batch 2 --steps 2'.split(' ')
  await succeeds(['train', '--family', 'llama', '--data', at('text.txt'), '--out', at('model'), ...sizes])
})
after(() => rm(folder, { recursive: true, force: true }))

describe('hedgehog finetune', () => {
  it('trains all weights on text, and says what it measured', async () => {
    const result = await succeeds(tune('text.txt', 'all', '--validation', at('text.txt')))
    assert.equal(result.data, 'text')
    assert.equal(result.learned, result.parameters)
    assert.ok(result.validationLoss > 0)
    assert.deepEqual(await json('all'), await json('model'))
    assert.notEqual(await weights('all'), await weights('model'))
  })

  it('trains an adapter alone, and merges it into a model like the one that came in', async () => {
    const result = await succeeds(tune('text.txt', 'merged', '--lora', 'rank=2,alpha=4,targets=q_proj,up_proj'))
    const [own, base] = [await open('merged'), await open('model')]
    // 2 · (8 + 8) for q_proj, 2 · (8 + inner) for up_proj.
    assert.equal(result.learned, 2 * (8 + 8) + 2 * (8 + base.config.inner))
    assert.deepEqual(await json('merged'), await json('model'))
    for (const [path, { data }] of Object.entries(own.params)) {
      const moved = data.some((value, i) => value !== base.params[path]!.data[i])
      assert.equal(moved, /(q|up)_proj/.test(path), path)
    }
  })

  it('keeps the adapter where asked to, goes on with it, and then merges it', async () => {
    await succeeds(tune('text.txt', 'kept', '--lora', 'rank=2,targets=all-linear,rslora', '--keep-adapter'))
    assert.equal((await json('kept')).model_type, 'hedgehog_llama')
    assert.deepEqual((await open('kept')).config.adapter, {
      rank: 2,
      alpha: 16 * Math.SQRT2,
      dropout: 0,
      targets: 'all-linear',
    })
    await succeeds(['merge', at('model'), join(at('kept'), 'adapter'), '--out', at('joined')])
    const own = ['finetune', at('kept'), '--data', at('text.txt'), '--out', at('again'), '--steps', '1', '--batch', '2']
    await succeeds([...own, '--lr', '1e-9'])
    assert.deepEqual(await json('again'), await json('model'))
    // The learning rate is too small to change a float, so that both merged the same adapter.
    for (const [path, { data }] of Object.entries((await open('again')).params)) {
      const joined = (await open('joined')).params[path]!.data
      for (const [i, value] of data.entries()) assert.ok(Math.abs(value - joined[i]!) < 1e-6, path)
    }
  })

  it('learns the completions of prompts', async () => {
    const result = await succeeds(tune('chats.jsonl', 'chat', '--validation', at('chats.jsonl'), '--lora', 'rank=1'))
    assert.deepEqual([result.data, result.size], ['instructions', 4])
    assert.ok(result.validationLoss > 0)
  })

  it('makes a classifier of labelled texts, whose labels the model then names', async () => {
    const result = await succeeds(tune('table.csv', 'classes', '--validation', at('table.csv')))
    assert.deepEqual([result.data, result.size], ['labelled', 8])
    const { architectures, id2label, label2id } = await json('classes')
    assert.deepEqual(architectures, ['LlamaForSequenceClassification'])
    assert.deepEqual(
      [id2label, label2id],
      [
        { 0: 'even', 1: 'odd' },
        { even: 0, odd: 1 },
      ],
    )
    assert.deepEqual((await open('classes')).params['score.weight']!.shape, [2, 8])
  })

  it('goes on after Ctrl-C to the same weights, to the bit', async () => {
    const lora = ['--lora', 'rank=2,dropout=0.2', '--checkpoint-every', '1']
    const stopped = await hedgehog([...tune('text.txt', 'stopped', ...lora), '--json'], ({ step }, interrupt) => {
      if (step === 2) interrupt()
    })
    assert.equal(stopped.code, 130)
    assert.match(stopped.err, /stopped after step 2 of 4; saved in .*; go on with: .* --resume/)
    await succeeds([...tune('text.txt', 'stopped', ...lora), '--resume'])
    await succeeds(tune('text.txt', 'whole', ...lora))
    assert.equal(await weights('stopped'), await weights('whole'))
    const other = await hedgehog([...tune('text.txt', 'stopped', '--lora', 'rank=3'), '--resume'])
    assert.match(other.err, /written by a job with other settings: .*lora\.rank was 2, now 3/)
  })

  for (const [title, argv, code, message] of [
    ['an adapter it cannot read', ['--lora', 'rank=two'], 2, /--lora: got 'rank=two', want rank=N, alpha=X/],
    [
      'a target that there is not',
      ['--lora', 'targets=c_attn'],
      1,
      /target c_attn is no linear layer .* q_proj, k_proj/,
    ],
    ['nothing to keep', ['--keep-adapter'], 2, /--keep-adapter: there is no adapter to keep; pass --lora too/],
    ['a length past the model', ['--length', '17'], 2, /--length: got 17, want at most the model's 16/],
  ] as const) {
    it(`refuses ${title}`, async () => {
      const found = await hedgehog(tune('text.txt', 'none', ...argv))
      assert.match(found.err, message)
      assert.equal(found.code, code)
    })
  }

  it('refuses files of several kinds, and labels that are all the same', async () => {
    const mixed = await hedgehog(tune('text.txt', 'none', '--validation', at('table.csv')))
    assert.match(mixed.err, /text\.txt is text, .*table\.csv is labelled; want files of one kind/)
    assert.match((await hedgehog(tune('one.csv', 'none'))).err, /one\.csv: got 1 different labels, want at least 2/)
  })
})

describe('hedgehog convert --lora', () => {
  it('finetunes the converted model by an adapter that is merged', async () => {
    const small = '--length 8 --batch 2 --distill-steps 2 --finetune-steps 2 --compare elu --lora rank=1'.split(' ')
    await succeeds(['convert', at('model'), '--data', at('text.txt'), '--out', at('linear'), ...small])
    const [{ config, params }, base] = [await open('linear'), await open('model')]
    assert.equal(config.adapter, undefined)
    for (const [path, { data }] of Object.entries(base.params)) {
      const moved = data.some((value, i) => value !== params[path]!.data[i])
      assert.equal(moved, /self_attn\..*_proj/.test(path), path)
    }
  })
})
