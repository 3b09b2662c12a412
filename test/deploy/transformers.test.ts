/** Exports as @huggingface/transformers, unmodified, loads them from a folder and generates with them. */

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { AutoModelForCausalLM, AutoTokenizer, env, Tensor } from '@huggingface/transformers'
import { planNamed } from '../../src/attention/plan.ts'
import { ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import type { ExportOptions } from '../../src/deploy/target.ts'
import { exportModel } from '../../src/deploy/targets.ts'
import { createGenerator } from '../../src/generate/state.ts'
import { loadTokenizer } from '../../src/io/tokenizer.ts'
import { filesOf } from '../../src/models/files.ts'
import { loadModel } from '../../src/models/folder.ts'
import type { Model } from '../../src/models/model.ts'
import { openModelFile } from '../../src/node/device.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { device } from '../tensors.ts'
import { llamaOf } from './exports.ts'

const folder = await mkdtemp(join(tmpdir(), 'hedgehog-transformers-'))
after(() => rm(folder, { recursive: true }))
env.allowRemoteModels = false
env.localModelPath = folder

const source = folderSource(fileURLToPath(new URL('../../models/tiny', import.meta.url)))
const tokenizer = await loadTokenizer(source)

/** Exports a model into a folder of the test's, and gives the name that the library finds it by. */
async function place(name: string, model: Model, options: ExportOptions = {}): Promise<string> {
  const [sink, written] = [folderSink(join(folder, name)), folderSource(join(folder, name))]
  const open = (file: string) => openModelFile(join(folder, name, file), 'cpu', { threads: 1 })
  await exportModel('transformers.js', {
    ...{ model: filesOf(model), tokenizer, source, sink },
    written,
    open,
    device,
    options,
  })
  return name
}

/** The likeliest tokens after a prompt, by hedgehog's own generation. */
async function greedy(model: Model, prompt: Iterable<number>, count: number): Promise<number[]> {
  const generator = createGenerator(device, model)
  const ids = Int32Array.from(prompt)
  let { logits, state } = await generator.advance(generator.start(), ints([1, ids.length], ids))
  const found: number[] = []
  for (;;) {
    found.push(logits.data.indexOf(Math.max(...logits.data)))
    if (found.length === count) break
    const next = await generator.advance(state, ints([1, 1], [found.at(-1)!]))
    ;({ logits, state } = next)
  }
  await generator.dispose()
  return found
}

const count = 20

/** What the library generates after rows of ids of one length, of which some are padding. */
async function theirs(name: string, rows: readonly (readonly number[])[], masks?: readonly (readonly number[])[]) {
  const model = await AutoModelForCausalLM.from_pretrained(name)
  const tensor = (values: readonly (readonly number[])[]) =>
    new Tensor('int64', BigInt64Array.from(values.flat(), BigInt), [values.length, values[0]!.length])
  const inputs = { input_ids: tensor(rows), attention_mask: tensor(masks ?? rows.map((row) => row.map(() => 1))) }
  const settings = { ...inputs, max_new_tokens: count, do_sample: false, eos_token_id: null } as Record<string, unknown>
  const out = (await model.generate(settings)) as Tensor
  await model.dispose()
  return (out.tolist() as bigint[][]).map((row) => row.slice(rows[0]!.length).map(Number))
}

const drawn = (length: number, vocab: number, seed: number): number[] => {
  const rng = random(seed)
  return Array.from({ length }, () => rng.integer(vocab))
}

describe('transformers.js generates the tokens that hedgehog generates', () => {
  it('of the bundled model converted, from text to text', async () => {
    const model = linearize(await loadModel(source), 'hedgehog', random(0))
    const name = await place('bundled', model)
    const theirTokenizer = await AutoTokenizer.from_pretrained(name)
    const prompt = 'The old house on the'
    const ids = (theirTokenizer(prompt).input_ids.tolist() as bigint[][])[0]!.map(Number)
    assert.deepEqual(ids, [...tokenizer.encode(prompt)])
    const want = await greedy(model, ids, count)
    const [got] = await theirs(name, [ids])
    assert.deepEqual(got, want)
    assert.equal(theirTokenizer.decode(got!), tokenizer.decode(want))
  })

  const cases: Readonly<Record<string, [() => Model, ExportOptions]>> = {
    'of a Llama with grouped keys, decomposed': [() => llamaOf('hedgehog'), { attention: 'decomposed' }],
    'of maps that know positions': [() => llamaOf('cosformer:64'), {}],
    'of a window hybrid with sinks, of which the window is left': [() => llamaOf('hybrid:4:2'), {}],
    'of softmax attention, a window, and linear attention in one model': [mixed, {}],
  }
  for (const [i, [title, [build, options]]] of Object.entries(cases).entries()) {
    it(`${title}, beside a longer text that the shorter is padded to`, async () => {
      const model = build()
      const name = await place(`case${i}`, model, options)
      const [short, long] = [drawn(3, 48, 1), drawn(7, 48, 2)]
      const want = [await greedy(model, short, count), await greedy(model, long, count)]
      const got = await theirs(name, [[0, 0, 0, 0, ...short], long], [[0, 0, 0, 0, 1, 1, 1], long.map(() => 1)])
      assert.deepEqual(got, want)
    })
  }

  it('with float16 weights that it finds by itself, as with 8 and 4 bits', async () => {
    const prompt = drawn(5, 48, 3)
    for (const type of ['float16', 'int8', 'int4'] as const) {
      const model = llamaOf('hedgehog-softmax')
      const name = await place(type, model, { type })
      const [got] = await theirs(name, [prompt])
      assert.equal(got!.length, count)
      if (type === 'float16') assert.deepEqual(got, await greedy(model, prompt, count))
      const { dtype } = JSON.parse(await readFile(join(folder, name, 'config.json'), 'utf8'))['transformers.js_config']
      assert.equal(dtype, { float16: 'fp16', int8: 'q8', int4: 'q4' }[type])
    }
  })
})

function mixed(): Model {
  const plans = ['softmax', 'window:3', 'hedgehog'].map(planNamed)
  const model = llamaOf('hedgehog', { layers: 3 })
  const isLeft = (path: string) => !/^layers\.[01]\..*feature_map/.test(path)
  const params = Object.fromEntries(Object.entries(model.params).filter(([path]) => isLeft(path)))
  return { config: { ...model.config, attention: plans }, params }
}
