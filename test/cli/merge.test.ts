/** `hedgehog merge` of adapters: into weights of 16 bits, from a folder of PEFT or from beside the weights. */

import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { writePeftAdapter } from '../../src/io/adapters.ts'
import { openModelFiles } from '../../src/models/files.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { llama } from '../../src/models/llama.ts'
import type { Model } from '../../src/models/model.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { addLora, detachedAdapter } from '../../src/train/lora.ts'
import { mergeLora } from '../../src/train/mergeLora.ts'
import { noisyModel } from '../execute/tiny.ts'
import { device } from '../tensors.ts'
import { hedgehog as commandLine } from './hedgehog.ts'

let folder = ''
let adapted: Model
const at = (name: string) => join(folder, name)
const tokenizer = 'models/tiny/tokenizer.json'

const hedgehog = (...argv: readonly string[]) => commandLine([...argv, '--json'])

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-merge-'))
  const plain = noisyModel(llama.configOf({ layers: 2, heads: 2, width: 8, vocab: 4096, maxLength: 12 }))
  await saveModel(folderSink(at('model')), linearize(plain, 'hedgehog', random(1)), { dtype: 'bfloat16' })
  const model = await loadModel(folderSource(at('model')))
  const { config, params } = addLora(model, { rank: 2, targets: ['q_proj', 'down_proj'] }, random(2))
  for (const [path, { data }] of Object.entries(params)) if (path.endsWith('lora_B.weight')) data.fill(0.1)
  adapted = { config, params }
  const { adapter, fanInFanOut } = detachedAdapter(adapted)
  await writePeftAdapter(folderSink(at('adapter')), adapter, { prefix: 'model.', fanInFanOut })
  await saveModel(folderSink(at('kept')), adapted)
  for (const name of ['model', 'kept']) await cp(tokenizer, join(at(name), 'tokenizer.json'))
})
after(() => rm(folder, { recursive: true, force: true }))

describe('hedgehog merge', () => {
  it('changes the weights that an adapter names as in memory, to the bit, and leaves the others as they were stored', async () => {
    const { code, out, err } = await hedgehog('merge', at('model'), at('adapter'), '--out', at('merged'))
    assert.equal(code, 0, err)
    assert.deepEqual(JSON.parse(out), { out: at('merged'), rank: 2, targets: 4 })
    const files = await openModelFiles(folderSource(at('merged')))
    for (const path of files.paths) {
      assert.equal(files.dtype(path), /(q|down)_proj/.test(path) ? 'F32' : 'BF16', path)
    }
    const want = await mergeLora(device, adapted)
    const got = await loadModel(folderSource(at('merged')))
    assert.deepEqual(new Map(Object.entries(got.params)), new Map(Object.entries(want.params)))
    assert.deepEqual(got.config, (await loadModel(folderSource(at('model')))).config)
  })

  it('merges the adapter that a model has beside its weights where none is named', async () => {
    const { code, err } = await hedgehog('merge', at('kept'), '--out', at('joined'))
    assert.equal(code, 0, err)
    const want = await mergeLora(device, adapted)
    await saveModel(folderSink(at('want')), want)
    const bytes = (name: string) => readFile(join(at(name), 'model.safetensors'))
    assert.ok((await bytes('joined')).equals(await bytes('want')))
    const none = await hedgehog('merge', at('model'), '--out', at('no'))
    assert.equal(none.code, 2)
    assert.match(none.err, /model: has no adapter beside its weights; name the folder of one, or of shards/)
    const two = await hedgehog('merge', at('kept'), at('adapter'), '--out', at('no'))
    assert.match(two.err, /the model has an adapter; merge it first/)
  })
})
