import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { openSafetensors, writeSafetensors } from '../../src/io/safetensors.ts'
import { withTask } from '../../src/models/families.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import type { Model } from '../../src/models/model.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { noisyModel } from '../execute/tiny.ts'

const root = await mkdtemp(join(tmpdir(), 'hedgehog-models-'))
after(() => rm(root, { recursive: true }))

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))
const stored = (folder: string) => openSafetensors(folderSource(folder), 'model.safetensors')
const configOf = async (folder: string) => JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'))

async function saved(model: Model, name: string) {
  const folder = join(root, name)
  await saveModel(await folderSink(folder), model)
  return folder
}

function sameParams(got: Params, want: Params): void {
  assert.deepEqual(Object.keys(got).sort(), Object.keys(want).sort())
  for (const [path, { data }] of Object.entries(want)) assert.deepEqual(got[path]!.data, data, path)
}

describe('a model folder', () => {
  it('is refused before a weight is read when it does not fit into memory, with both numbers', async () => {
    const source = folderSource(fixture('gpt2-tiny'))
    const { params } = await loadModel(source)
    const needed = Object.values(params).reduce((sum, { data }) => sum + data.byteLength, 0)
    await loadModel(source, { memory: needed })
    let tensors = 0
    const counted = {
      ...source,
      read: (...range: Parameters<typeof source.read>) => {
        if (range[0] === 'model.safetensors') tensors++
        return source.read(...range)
      },
    }
    await assert.rejects(loadModel(counted, { memory: needed - 1 }), {
      name: 'RangeError',
      message: /gpt2-tiny: its weights take \d+ kB as float32, \d+ kB of memory are free; use a smaller model/,
    })
    assert.equal(tensors, 2, 'the length of the header, and the header')
  })

  it('with two tensors for one parameter is refused by both names', async () => {
    const model = await loadModel(folderSource(fixture('gpt2-tiny')))
    const folder = await saved(model, 'twice')
    const { 'ln_f.bias': bias } = model.params
    const named = Object.entries(model.params).map(([path, array]) => [`transformer.${path}`, array])
    await writeSafetensors(folderSink(folder), 'model.safetensors', {
      ...Object.fromEntries(named),
      'ln_f.bias': bias!,
    })
    const message = /twice: (transformer\.)?ln_f\.bias and (transformer\.)?ln_f\.bias are both named ln_f\.bias$/
    await assert.rejects(loadModel(folderSource(folder)), { message })
  })

  for (const name of ['gpt2-tiny', 'bert-tiny', 'bert-tiny-classes', 'vit-tiny']) {
    it(`of transformers is written again as it was read: ${name}`, async () => {
      const model = await loadModel(folderSource(fixture(name)))
      const folder = await saved(model, name)
      const [was, is] = [await stored(fixture(name)), await stored(folder)]
      assert.deepEqual([...is.names].sort(), [...was.names].sort())
      for (const tensor of was.names) assert.deepEqual((await is.tensor(tensor)).data, (await was.tensor(tensor)).data)
      const [before, now] = [await configOf(fixture(name)), await configOf(folder)]
      for (const key of ['model_type', 'architectures', 'id2label', 'label2id']) assert.deepEqual(now[key], before[key])
    })
  }

  it('of linear attention has names of its own, and is read as it was', async () => {
    const model = linearize(await loadModel(folderSource(fixture('bert-tiny-classes'))), 'hedgehog-exp', random(1))
    const folder = await saved(model, 'linear')
    const json = await configOf(folder)
    assert.equal(json.model_type, 'hedgehog_bert')
    assert.deepEqual(json.architectures, ['HedgehogBertForSequenceClassification'])
    const again = await loadModel(folderSource(folder))
    assert.deepEqual([again.config.task, again.config.labels], ['classification', 3])
    assert.deepEqual(again.config.attention, model.config.attention)
    sameParams(again.params, model.params)
  })

  it('with the names of older checkpoints is read too', async () => {
    const folder = join(root, 'older')
    await cp(fixture('bert-tiny'), folder, { recursive: true })
    const file = await stored(folder)
    const renamed: [string, Params[string]][] = []
    for (const name of file.names) {
      const older = name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')
      renamed.push([older, await file.tensor(name)])
    }
    await writeSafetensors(await folderSink(folder), 'model.safetensors', Object.fromEntries(renamed))
    sameParams(
      (await loadModel(folderSource(folder))).params,
      (await loadModel(folderSource(fixture('bert-tiny')))).params,
    )
  })
})

describe('loadModel for a task', () => {
  it('begins an end that the checkpoint lacks, the same for the same stream, and keeps the rest', async () => {
    const source = folderSource(fixture('bert-tiny'))
    const language = await loadModel(source)
    const load = (seed: number) => loadModel(source, { task: 'classification', labels: 4, rng: random(seed) })
    const [one, same, other] = [await load(1), await load(1), await load(2)]
    assert.deepEqual([one.config.task, one.config.labels], ['classification', 4])
    assert.deepEqual([...one.params['classifier.weight']!.shape], [4, 24])
    sameParams(one.params, same.params)
    assert.notDeepEqual(one.params['classifier.weight']!.data, other.params['classifier.weight']!.data)
    for (const [path, { data }] of Object.entries(one.params)) {
      if (!/^(pooler|classifier)/.test(path)) assert.deepEqual(data, language.params[path]!.data, path)
    }
    assert.ok(!('cls.predictions.bias' in one.params))
  })

  it('keeps what the checkpoint has of the end, and begins anew what is of another shape', async () => {
    const source = folderSource(fixture('bert-tiny-classes'))
    const own = await loadModel(source)
    sameParams((await loadModel(source, { task: 'classification' })).params, own.params)
    const fewer = await loadModel(source, { task: 'classification', labels: 2 })
    assert.deepEqual([...fewer.params['classifier.bias']!.shape], [2])
    assert.deepEqual(fewer.params['pooler.dense.weight']!.data, own.params['pooler.dense.weight']!.data)
    const number = await loadModel(source, { task: 'regression' })
    assert.deepEqual([number.config.task, number.config.labels], ['regression', 1])
  })

  it('begins no part of the trunk', async () => {
    const folder = join(root, 'broken')
    await cp(fixture('bert-tiny'), folder, { recursive: true })
    const file = await stored(folder)
    const rest = file.names.filter((name) => !name.endsWith('layer.1.output.dense.bias'))
    const params = Object.fromEntries(await Promise.all(rest.map(async (name) => [name, await file.tensor(name)])))
    await writeSafetensors(await folderSink(folder), 'model.safetensors', params)
    await assert.rejects(
      loadModel(folderSource(folder), { task: 'classification' }),
      /missing encoder\.layer\.1\.output/,
    )
  })

  it('reads a checkpoint without an end as features, whatever prefix it has', async () => {
    const folder = join(root, 'plain')
    await cp(fixture('bert-tiny-classes'), folder, { recursive: true })
    const file = await stored(folder)
    const trunk = file.names.filter((name) => name.startsWith('bert.') && !name.includes('pooler'))
    const params = Object.fromEntries(
      await Promise.all(trunk.map(async (name) => [name.slice('bert.'.length), await file.tensor(name)])),
    )
    await writeSafetensors(await folderSink(folder), 'model.safetensors', params)
    const json = await configOf(folder)
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...json, architectures: ['BertModel'] }))
    const features = await loadModel(folderSource(folder))
    assert.deepEqual([features.config.task, features.config.labels], ['features', 0])
    const classifier = await loadModel(folderSource(folder), { task: 'classification', labels: 3 })
    assert.ok('pooler.dense.weight' in classifier.params && 'classifier.weight' in classifier.params)
  })

  it('refuses a task that the family has no end for', async () => {
    await assert.rejects(loadModel(folderSource(fixture('bert-tiny')), { task: 'language' }), {
      message: /bert-tiny: config\.json: task: got language, want one of masked-language, classification/,
    })
  })
})

describe('withTask', () => {
  const language = noisyModel(gpt2.configOf({ layers: 1, heads: 2, width: 6, vocab: 11, maxLength: 8 }))

  it('shares the trunk and begins the new end', () => {
    const classifier = withTask(language, { task: 'classification', labels: 5 }, random(1))
    assert.deepEqual([...classifier.params['score.weight']!.shape], [5, 6])
    for (const [path, array] of Object.entries(language.params)) assert.equal(classifier.params[path], array)
    assert.equal(classifier.config.task, 'classification')
  })

  it('goes back to what it came from', () => {
    const back = withTask(withTask(language, { task: 'regression' }, random(1)), { task: 'language' }, random(2))
    assert.deepEqual(back.params, language.params)
    assert.deepEqual(back.config.task, 'language')
  })

  it('keeps the attention of a linear model', () => {
    const student = linearize(language, 'elu', random(1))
    const classifier = withTask(student, { task: 'classification' }, random(1))
    assert.deepEqual(classifier.config.attention, student.config.attention)
  })
})
