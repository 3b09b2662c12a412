import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { floats, ints } from '../../src/base/array.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import { heldOutLoss } from '../../src/execute/heldOut.ts'
import { families } from '../../src/models/families.ts'
import { device } from '../tensors.ts'
import { noisyModel, tinyBatch } from './tiny.ts'

const { ids, labels } = tinyBatch(3, 5)
const cases = {
  language: labels,
  classification: ints([3], [2, -1, 0]),
  regression: floats([3], [0.5, -2, 3]),
} as const

describe('the held-out loss', () => {
  for (const task of ['language', 'classification', 'regression'] as const) {
    it(`is the mean of what a training of ${task} minimises`, async () => {
      const sizes = { layers: 1, heads: 2, width: 6, vocab: 11, maxLength: 8, task, labels: 4 }
      const { config, params } = noisyModel(families.gpt2!.configOf(sizes))
      const own = cases[task]
      const count = task === 'regression' ? 3 : [...own.data].filter((label) => label >= 0).length
      const forward = createForward(device, config)
      const backward = createBackward(device, config)
      const batch = { ids, labels: own }
      const want = await backward.accumulate(params, {}, batch, { tokenWeight: 1 / count })
      assert.ok(Math.abs((await heldOutLoss(forward, config, params, [batch, batch])) - want) < 1e-6 * (1 + want))
      const none = { ids, labels: ints([3], [-1, -1, -1]) }
      if (task === 'classification') {
        await assert.rejects(heldOutLoss(forward, config, params, [none]), /got no labels that count/)
      }
      await forward.dispose()
      await backward.dispose()
    })
  }
})
