import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { AttentionPlan } from '../../src/attention/plan.ts'
import { ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { identityOf } from '../../src/generate/fingerprint.ts'
import { createGenerator, stateBytes } from '../../src/generate/state.ts'
import { loadState, saveState } from '../../src/generate/stateFile.ts'
import { newModel } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { device } from '../tensors.ts'

const plans: Readonly<Record<string, AttentionPlan>> = {
  linear: { kind: 'linear', map: 'hedgehog-exp' },
  softmax: { kind: 'softmax' },
}
const folder = await mkdtemp(join(tmpdir(), 'hedgehog-state-'))
after(() => rm(folder, { recursive: true }))
const [source, sink] = [folderSource(folder), folderSink(folder)]
const tokenizer = { json: { vocab: ['a', 'b'] } }

function modelOf(attention: AttentionPlan, seed = 1, layers = 2) {
  const config = gpt2.configOf({ layers, heads: 2, width: 10, vocab: 23, maxLength: 90, attention })
  return newModel(config, random(seed))
}

async function read(attention: AttentionPlan, length = 37) {
  const model = modelOf(attention)
  const generator = createGenerator(device, model)
  const ids = Array.from({ length }, (_, i) => (i * 7) % 23)
  const { state } = await generator.advance(generator.start(), ints([1, length], ids))
  return { model, generator, state, identity: await identityOf(model, tokenizer) }
}

for (const [name, plan] of Object.entries(plans)) {
  describe(`a saved state of ${name} attention`, () => {
    it('goes on after it is loaded as it would have without, and keeps its note', async () => {
      const { generator, state, identity } = await read(plan)
      const note = { messages: ['Guten Tag', '你好'] }
      await saveState(sink, 'state.safetensors', state, identity, { note })
      assert.ok((await stat(join(folder, 'state.safetensors'))).size < stateBytes(state) + 2000)
      const loaded = await loadState(source, 'state.safetensors', generator, identity)
      assert.deepEqual([loaded.note, loaded.state.positions], [note, [37]])
      const next = ints([1, 3], [4, 5, 6])
      const [went, goes] = [await generator.advance(state, next), await generator.advance(loaded.state, next)]
      assert.deepEqual(goes.logits, went.logits)
      await generator.dispose()
    })
  })
}

describe('a saved state', () => {
  it('is refused by another model, weights or tokenizer, by name', async () => {
    const { generator, state, identity } = await read(plans.linear!)
    await saveState(sink, 'own.safetensors', state, identity)
    const others = {
      config: await identityOf(modelOf(plans.linear!, 1, 3), tokenizer),
      weights: await identityOf(modelOf(plans.linear!, 2), tokenizer),
      tokenizer: await identityOf(modelOf(plans.linear!), { json: { vocab: ['b', 'a'] } }),
    }
    for (const [part, other] of Object.entries(others)) {
      await assert.rejects(
        () => loadState(source, 'own.safetensors', generator, other),
        new RegExp(`own.safetensors: is a state of a model with .*${part} \\(${part} \\w{16}, want \\w{16}\\)`),
      )
    }
    await generator.dispose()
  })

  it('is refused when it is of another version, no state at all, or damaged', async () => {
    const { generator, state, identity } = await read(plans.linear!)
    await saveState(sink, 'good.safetensors', state, identity)
    const good = (await readFile(join(folder, 'good.safetensors'))).toString('latin1')
    const refused = async (file: string, from: string, to: string, message: RegExp) => {
      assert.ok(good.includes(from) && from.length === to.length)
      await writeFile(join(folder, file), Buffer.from(good.replace(from, to), 'latin1'))
      await assert.rejects(() => loadState(source, file, generator, identity), message)
    }
    await refused('old', '"version":"1"', '"version":"0"', /old: is a state of version 0, want 1/)
    await refused('none', '"format":"hedgehog-state"', '"format":"hedgehog-other"', /none: is no saved state/)
    await refused('where', '"position":"37"', '"position":"-7"', /where: is damaged: restore: got position -7/)
    await refused('name', 'layers.0.sums', 'layers.0.sumz', /name: is damaged: restore: layer 0: sum.: got/)
    await refused('layer', 'layers.1.sums', 'layers.7.sums', /layer: has 4 arrays, want 3; the file is damaged/)
    await generator.dispose()
  })

  it('is of one sequence', async () => {
    const { generator, identity } = await read(plans.linear!)
    await assert.rejects(() => saveState(sink, 'two', generator.start(2), identity), /state of 2 sequences, want 1/)
    await generator.dispose()
  })
})

describe('the identity of a model', () => {
  it('changes with any parameter', async () => {
    const model = modelOf(plans.linear!)
    const { weights } = await identityOf(model, tokenizer)
    for (const [path, array] of Object.entries(model.params)) {
      const data = array.data.map((value) => value + 0.5)
      const other = { ...model, params: { ...model.params, [path]: { ...array, data } } }
      assert.notEqual((await identityOf(other, tokenizer)).weights, weights, path)
    }
  })
})
