import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isMapPath } from '../../src/attention/mapParams.ts'
import { ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { createInspection } from '../../src/evaluate/inspection.ts'
import { loadWriting, type Writing } from '../../src/models/writing.ts'
import { openDevice } from '../../src/node/device.ts'
import { folderSource } from '../../src/node/files.ts'
import { type Lens, openLens } from '../../src/page/attention/lens.ts'
import { mapSteps } from '../../src/page/worker/mapSteps.ts'
import type { Device } from '../../src/runtime/device.ts'

const models = (name: string) => folderSource(fileURLToPath(new URL(`../../models/${name}`, import.meta.url)))
const text = 'The old man said that the sea had never been so quiet.'

describe('a lens', () => {
  let device: Device
  let writing: Writing
  let lens: Lens
  before(async () => {
    device = await openDevice('cpu')
    writing = await loadWriting(models('tiny'))
    lens = openLens(device, writing.model, writing.tokenizer, await mapSteps(models('tiny-maps')))
  })
  after(() => lens.dispose())

  it('measures what an inspection of the text measures, though it fills the text up', async () => {
    for (const map of ['hedgehog-untrained', 'elu', 'cosformer']) {
      const seen = await lens.look({ text, map })
      const student = linearize(writing.model, map, random(0))
      const inspection = createInspection(device, writing.model, { student }, { properties: ['kl', 'entropy'] })
      const ids = writing.tokenizer.encode(text)
      const found = await inspection.measure(ints([1, ids.length], ids))
      await inspection.dispose()
      const of = (name: string) => found.filter((head) => head.name === name)
      for (const { layer, head, kl } of of('student')) {
        assert.ok(Math.abs(seen.kl[layer]![head]! - kl!) < 1e-4, `${map}, layer ${layer}, head ${head}`)
      }
      const at = (name: string) => of(name).find(({ layer, head }) => layer === seen.layer && head === seen.head)
      assert.ok(Math.abs(seen.entropy.softmax - at('softmax')!.entropy!) < 1e-4)
      assert.ok(Math.abs(seen.entropy.linear - at('student')!.entropy!) < 1e-4)
    }
  })

  it('begins at the head with the spikiest softmax, and gives rows that sum to 1', async () => {
    const seen = await lens.look({ text })
    for (let layer = 0; layer < seen.layers; layer++) {
      for (let head = 0; head < seen.heads; head++) {
        const other = await lens.look({ text, layer, head })
        assert.ok(other.entropy.softmax >= seen.entropy.softmax)
      }
    }
    for (const rows of [seen.softmax, seen.linear]) {
      for (const [i, row] of rows.entries()) {
        assert.equal(row.length, i + 1)
        assert.ok(Math.abs(row.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-4)
      }
    }
  })

  it('shows a map as it learned: what is stored with the page, and what is noted', async () => {
    const { steps } = await lens.look({ text })
    assert.deepEqual(steps.slice(0, 5), [0, 5, 15, 40, 100])
    const mean = async (step: number) => (await lens.look({ text, step })).kl.flat().reduce((sum, kl) => sum + kl) / 16
    const kl = [await mean(0), await mean(15), await mean(steps.at(-1)!)]
    assert.ok(kl[0]! > kl[1]! && kl[1]! > kl[2]!, `${kl}`)
    const map = 'hedgehog-softmax'
    const before = await lens.look({ text, map })
    assert.deepEqual(before.steps, [0])
    const halved = Object.entries(lens.student(map).params)
      .filter(([path]) => isMapPath(path))
      .map(([path, array]) => [path, { ...array, data: array.data.map((x) => x / 2) }] as const)
    lens.note(map, 7, Object.fromEntries(halved))
    const noted = await lens.look({ text, map })
    assert.deepEqual([noted.step, noted.steps], [7, [0, 7]])
    assert.notDeepEqual(noted.kl, before.kl)
    assert.deepEqual((await lens.look({ text, map, step: 0 })).kl, before.kl)
  })

  it("shows a converted model's own attention", async () => {
    const converted = linearize(writing.model, 'hybrid:4', random(0))
    const own = openLens(device, converted, writing.tokenizer)
    const seen = await own.look({ text })
    assert.deepEqual([seen.map, seen.learns, seen.steps], ['converted', false, [0]])
    assert.match(seen.converted!, /^hybrid:4/)
    const teacher = await lens.look({ text, map: 'elu', layer: seen.layer, head: seen.head })
    assert.deepEqual(seen.softmax, teacher.softmax)
    await own.dispose()
  })

  it('cuts a long text, and refuses an empty one and a map that is none', async () => {
    const seen = await lens.look({ text: text.repeat(9) })
    assert.deepEqual([seen.tokens.length, seen.cut], [seen.most, true])
    await assert.rejects(lens.look({ text: '' }), /^RangeError: look: got no text/)
    await assert.rejects(lens.look({ text, map: 'x' }), /got feature map x, want one of hedgehog/)
  })
})
