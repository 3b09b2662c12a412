import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { floats } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { rowWeights, storedWeights, transposed } from '../../src/generate/rowWeights.ts'
import { familyOf, newModel } from '../../src/models/families.ts'

describe('a transposed matrix', () => {
  it('has every element in its new place, and is the old one after another turn', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 70 }), (rows, columns) => {
        const matrix = floats(
          [rows, columns],
          Float32Array.from({ length: rows * columns }, (_, i) => i),
        )
        const turned = transposed(matrix)
        assert.deepEqual(turned.shape, [columns, rows])
        for (const [at, value] of turned.data.entries()) {
          assert.equal(value, (at % rows) * columns + Math.floor(at / rows))
        }
        assert.deepEqual(transposed(turned), matrix)
      }),
      { numRuns: 30 },
    )
  })
})

describe('weights by rows', () => {
  const sizes = { layers: 2, heads: 2, width: 12, vocab: 29, maxLength: 16 }

  it('copy the matrices of GPT-2 and share all else', () => {
    const model = newModel(familyOf({ family: 'gpt2' }).configOf(sizes), random(1))
    const { params } = rowWeights(model)
    for (const [path, array] of Object.entries(model.params)) {
      if (/(c_attn|c_proj|c_fc)\.weight$/.test(path)) assert.deepEqual(params[path], transposed(array), path)
      else assert.equal(params[path], array, path)
    }
    assert.equal(storedWeights(model).params, model.params)
  })

  it('are those of a Llama as they are', () => {
    const model = newModel(familyOf({ family: 'llama' }).configOf(sizes), random(1))
    for (const [path, array] of Object.entries(rowWeights(model).params)) assert.equal(array, model.params[path], path)
  })
})
