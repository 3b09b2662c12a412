import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { random } from '../../src/base/random.ts'
import { below, countParams, initialise, type ParamSpecs, prefixed } from '../../src/nn/params.ts'

const specs: ParamSpecs = {
  'a.weight': { shape: [3, 40], initial: { normal: 0.5 } },
  'a.bias': { shape: [40], initial: 'zeros' },
  scale: { shape: [5], initial: 'ones' },
  map: { shape: [2, 3, 3], initial: 'identity' },
  half: { shape: [2, 4, 2], initial: 'identity' },
}

describe('initialise', () => {
  it('gives each parameter its shape and its beginning', () => {
    const params = initialise(specs, random(1))
    for (const [path, { shape }] of Object.entries(specs)) assert.deepEqual([...params[path]!.shape], shape)
    assert.deepEqual([...params['a.bias']!.data], Array(40).fill(0))
    assert.deepEqual([...params.scale!.data], Array(5).fill(1))
    assert.deepEqual([...params.map!.data], [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1])
    assert.deepEqual([...params.half!.data], [1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0])
  })

  it('draws normal numbers of the asked deviation', () => {
    const { data } = initialise({ w: { shape: [100, 100], initial: { normal: 0.02 } } }, random(2)).w!
    const mean = data.reduce((a, b) => a + b, 0) / data.length
    const deviation = Math.sqrt(data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length)
    // Four standard errors of a mean and of a deviation over 10,000 draws.
    assert.ok(Math.abs(mean) < 4 * 0.0002)
    assert.ok(Math.abs(deviation - 0.02) < (4 * 0.02) / Math.sqrt(20000))
  })

  it('gives the same for the same seed, other numbers for another', () => {
    const weight = (seed: number) => initialise(specs, random(seed))['a.weight']!.data
    assert.deepEqual(weight(3), weight(3))
    assert.notDeepEqual(weight(3), weight(4))
  })

  it('changes no parameter when others are added, left out or put in another order', () => {
    const whole = initialise(specs, random(5))
    fc.assert(
      fc.property(fc.shuffledSubarray(Object.keys(specs)), (paths) => {
        const added = { new: specs['a.weight']! }
        const some = { ...added, ...Object.fromEntries(paths.map((path) => [path, specs[path]!])) }
        const found = initialise(some, random(5))
        for (const path of paths) assert.deepEqual(found[path], whole[path])
      }),
    )
  })

  it('draws different numbers for two parameters of equal shape', () => {
    const normal = { shape: [4], initial: { normal: 1 } }
    const { a, b } = initialise({ a: normal, b: normal }, random(6))
    assert.notDeepEqual(a!.data, b!.data)
  })
})

describe('paths', () => {
  it('below a prefix are those that were prefixed with it', () => {
    const record = { ...prefixed('h.1.', { x: 1, y: 2 }), ...prefixed('h.10.', { x: 3 }) }
    assert.deepEqual(below('h.1.', record), { x: 1, y: 2 })
    assert.deepEqual(below('h.10.', record), { x: 3 })
    assert.deepEqual(below('', record), record)
  })

  it('are counted by their numbers', () => assert.equal(countParams(specs), 120 + 40 + 5 + 18 + 16))
})
