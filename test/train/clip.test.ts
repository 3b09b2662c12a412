import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { floats, type Params } from '../../src/base/array.ts'
import { createMemory } from '../../src/runtime/memory.ts'
import { clip, globalNorm } from '../../src/train/clip.ts'

const values = fc.array(fc.float({ min: -1000, max: 1000, noNaN: true }), { maxLength: 9 })
const gradients = fc
  .dictionary(fc.string({ minLength: 1 }), values)
  .map(
    (record): Params =>
      Object.fromEntries(Object.entries(record).map(([path, data]) => [path, floats([data.length], data)])),
  )

function scaled(grads: Params, factor: number): Params {
  const entries = Object.entries(grads)
  return Object.fromEntries(
    entries.map(([path, { shape, data }]) => [
      path,
      floats(
        shape,
        data.map((x) => x * factor),
      ),
    ]),
  )
}

describe('clip', () => {
  it('gives a factor under which the norm is at most the maximum', () => {
    fc.assert(
      fc.property(gradients, fc.double({ min: 1e-3, max: 100, noNaN: true }), (grads, maxNorm) => {
        const { norm, gradScale } = clip(grads, { maxNorm })
        const after = globalNorm(scaled(grads, gradScale))
        assert.ok(after <= maxNorm * (1 + 1e-6))
        if (norm <= maxNorm) assert.equal(gradScale, 1)
        else assert.ok(after >= maxNorm * (1 - 1e-6))
      }),
    )
  })

  it('applies an owed scale before it compares, and returns it with the clipping', () => {
    const grads = { a: floats([2], [30, 0]), b: floats([], [40]) }
    assert.deepEqual(clip(grads, { scale: 0.1, maxNorm: 10 }), { norm: 5, gradScale: 0.1 })
    assert.deepEqual(clip(grads, { scale: 0.5, maxNorm: 5 }), { norm: 25, gradScale: 0.1 })
    assert.deepEqual(clip(grads, { maxNorm: Infinity }), { norm: 50, gradScale: 1 })
    assert.deepEqual(clip({}), { norm: 0, gradScale: 1 })
  })

  it('measures the same with a memory, whatever array lives where', () => {
    const memory = createMemory(64)
    const inside = memory.allocate([7])
    inside.data.set([1, 2, 3, 4, 5, 6, 7])
    const grads = { inside, outside: floats([2], [3, 4]) }
    assert.equal(globalNorm(grads, memory), globalNorm(grads))
    assert.equal(globalNorm(grads), Math.sqrt(140 + 25))
  })

  it('names the parameter and the element that is not finite', () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      const grads = { 'wte.weight': floats([2]), 'h.3.mlp.c_fc.bias': floats([3], [0, 1, bad]) }
      assert.throws(
        () => clip(grads),
        new RegExp(`gradient of h\\.3\\.mlp\\.c_fc\\.bias is not finite, got ${bad} at element 2 of 3`),
      )
    }
  })

  it('refuses options out of range', () => {
    for (const bad of [{ maxNorm: 0 }, { maxNorm: NaN }, { scale: 0 }, { scale: Infinity }]) {
      assert.throws(() => clip({}, bad), RangeError)
    }
  })
})
