import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { random } from '../../src/base/random.ts'
import { newModel, readConfig } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { needsStretching, stretchPositions } from '../../src/models/stretch.ts'

const modelOf = (maxLength: number) =>
  newModel(gpt2.configOf({ layers: 1, heads: 2, width: 6, vocab: 11, maxLength }), random(maxLength))
const table = 'wpe.weight'

describe('stretchPositions', () => {
  it('to the same length is the identity', () => {
    const model = modelOf(7)
    assert.equal(stretchPositions(model, 7), model)
  })

  it('keeps the first and the last row, and the given rows where the lengths allow it', () => {
    const lengths = fc.record({ from: fc.integer({ min: 2, max: 9 }), times: fc.integer({ min: 2, max: 5 }) })
    fc.assert(
      fc.property(lengths, ({ from, times }) => {
        const model = modelOf(from)
        // One row more than a multiple of the steps between rows: every old row is met again.
        const longer = stretchPositions(model, (from - 1) * times + 1)
        const rows = (data: Float32Array, row: number) => Array.from(data.subarray(row * 6, (row + 1) * 6))
        for (let row = 0; row < from; row++) {
          const [got, want] = [rows(longer.params[table]!.data, row * times), rows(model.params[table]!.data, row)]
          for (const [i, value] of got.entries()) assert.ok(Math.abs(value - want[i]!) < 1e-6)
        }
      }),
    )
  })

  it('interpolates linearly: halfway between two rows is their mean', () => {
    const model = modelOf(3)
    const { data } = model.params[table]!
    const longer = stretchPositions(model, 5).params[table]!.data
    for (let i = 0; i < 6; i++) assert.ok(Math.abs(longer[6 + i]! - (data[i]! + data[6 + i]!) / 2) < 1e-6)
  })

  it('gives a model that reads the longer text, is saved as such, and shares all other weights', () => {
    const model = modelOf(4)
    const longer = stretchPositions(model, 10)
    assert.deepEqual([needsStretching(model, 10), needsStretching(longer, 10)], [true, false])
    assert.equal(longer.config.maxLength, 10)
    assert.deepEqual(longer.params[table]!.shape, [10, 6])
    assert.equal(readConfig(gpt2.writeConfig(longer.config)).maxLength, 10)
    for (const [path, array] of Object.entries(model.params)) {
      if (path !== table) assert.equal(longer.params[path], array)
    }
  })

  it('does not shorten', () => {
    assert.throws(() => stretchPositions(modelOf(8), 5), /got 5 positions, want at least the model's 8/)
  })
})
