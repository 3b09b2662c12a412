import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { type FloatArray, floats, ints } from '../../src/base/array.ts'
import { createForward } from '../../src/execute/forward.ts'
import { headRows, rowBlocks } from '../../src/execute/rows.ts'
import { cut, device, near, run } from '../tensors.ts'
import { nameOf, plans, tinyBatch, tinyModel, wholeHidden, wholeInputs } from './tiny.ts'

for (const plan of plans) {
  describe(`a model with ${nameOf(plan)}`, () => {
    const { config, params } = tinyModel(plan)
    const forward = createForward(device, config)
    after(() => forward.dispose())
    const { ids } = tinyBatch(2, 9)

    it('run block by block is the model as one float64 graph', async () => {
      const batch = { ids, labels: ids }
      const { h } = await run((inputs) => ({ h: wholeHidden(config, inputs) }), wholeInputs(params, batch, 1))
      near(await forward.hidden(params, { ids }), h!, 2e-5)
    })

    it('gives each text what it gives that text alone', async () => {
      const whole = await forward.hidden(params, { ids })
      for (const row of [0, 1]) {
        near(
          await forward.hidden(params, { ids: cut(ids, 0, row, row + 1) }),
          cut(whole, 0, 9 * row, 9 * row + 9),
          1e-5,
        )
      }
    })

    it('never lets a later token change an earlier state', async () => {
      const whole = await forward.hidden(params, { ids: cut(ids, 0, 0, 1) })
      for (const l of [1, 4])
        near(await forward.hidden(params, { ids: cut(cut(ids, 0, 0, 1), 1, 0, l) }), cut(whole, 0, 0, l), 1e-5)
    })

    it('has losses that are −log softmax of its logits', async () => {
      const h = await forward.hidden(params, { ids })
      const logits = await forward.logits(params, h)
      const losses = await forward.losses(params, h, ids)
      const want = Float64Array.from(losses, (_, row) => {
        const own = [...logits.data.subarray(row * config.vocab, (row + 1) * config.vocab)]
        return Math.log(own.reduce((sum, x) => sum + Math.exp(x), 0)) - own[ids.data[row]!]!
      })
      near(floats([losses.length], losses), { data: want }, 1e-5)
    })
  })
}

describe('embed', () => {
  const { config, params } = tinyModel({ kind: 'softmax' })
  const forward = createForward(device, config)
  after(() => forward.dispose())

  it('goes on from a position', async () => {
    const { ids } = tinyBatch(2, 9)
    const whole = await forward.embed(params, { ids })
    near(await forward.embed(params, { ids: cut(ids, 1, 4, 9) }, 4), cut(whole, 1, 4, 9), 0)
  })

  it('refuses positions and ids that the model has no embeddings for', async () => {
    const late = forward.embed(params, { ids: tinyBatch(2, 9).ids }, 4)
    await assert.rejects(late, { name: 'RangeError', message: /got 13 positions, want at most 12/ })
    for (const id of [11, -1]) {
      await assert.rejects(forward.embed(params, { ids: ints([1, 2], [3, id]) }), {
        name: 'RangeError',
        message: new RegExp(`${id}`),
      })
    }
  })
})

describe('losses', () => {
  it('are the same for more rows than are taken at once, and only rows are cut', async () => {
    const { config, params } = tinyModel({ kind: 'softmax' })
    const forward = createForward(device, config)
    const h: FloatArray = floats(
      [headRows + 3, 6],
      Float32Array.from({ length: (headRows + 3) * 6 }, (_, i) => Math.sin(i)),
    )
    const labels = ints(
      [headRows + 3],
      Int32Array.from({ length: headRows + 3 }, (_, i) => i % 11),
    )
    const losses = await forward.losses(params, h, labels)
    const last = await forward.losses(
      params,
      cut(h, 0, headRows, headRows + 3) as FloatArray,
      cut(labels, 0, headRows, headRows + 3),
    )
    near(floats([3], losses.slice(headRows)), { data: last }, 1e-6)
    await forward.dispose()
  })

  it('are cut into blocks that cover every row once', () => {
    for (const count of [1, headRows, headRows + 1, 3 * headRows]) {
      const blocks = rowBlocks(count)
      assert.equal(blocks[0]!.start, 0)
      assert.equal(blocks.at(-1)!.end, count)
      for (const [i, { start, end }] of blocks.entries()) {
        assert.ok(end > start && end - start <= headRows)
        if (i > 0) assert.equal(start, blocks[i - 1]!.end)
      }
    }
  })
})
