import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { floats } from '../../src/base/array.ts'
import { createPrefixCache } from '../../src/generate/prefixes.ts'
import type { State } from '../../src/generate/state.ts'

/** A state of 20 bytes that can be told apart. */
const stateOf = (mark: number): State => ({ positions: [mark], layers: [{ sums: floats([1, 5]) }] })
const entryBytes = (length: number) => 4 * length + 20
const text = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 6 })
const begins = (ids: readonly number[], with_: readonly number[]) => with_.every((id, i) => id === ids[i])

describe('a prefix cache', () => {
  it('finds the longest kept text that the wanted one begins with, and never another', () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 12 }), text, (kept, wanted) => {
        const cache = createPrefixCache(1e6)
        for (const [mark, ids] of kept.entries()) cache.add(ids, stateOf(mark))
        const best = kept.filter((ids) => begins(wanted, ids)).sort((a, b) => b.length - a.length)[0]
        const found = cache.find(wanted)
        assert.equal(found?.length, best?.length)
        if (found) assert.deepEqual(kept[found.state.positions[0]!], best)
      }),
    )
  })

  it('stays under its bytes, and drops what was unused for longest', () => {
    const cache = createPrefixCache(2 * entryBytes(1))
    cache.add([1], stateOf(1))
    cache.add([2], stateOf(2))
    assert.ok(cache.find([1, 5]))
    cache.add([3], stateOf(3))
    assert.deepEqual([cache.size(), cache.bytes()], [2, 2 * entryBytes(1)])
    assert.deepEqual(
      [1, 2, 3].map((id) => cache.find([id]) !== undefined),
      [true, false, true],
    )
    cache.add([4, 4, 4, 4, 4], stateOf(4))
    assert.equal(cache.size(), 1)
  })

  it('keeps nothing that is larger than it may be', () => {
    const cache = createPrefixCache(0)
    cache.add([1], stateOf(1))
    assert.deepEqual([cache.size(), cache.bytes(), cache.find([1])], [0, 0, undefined])
  })
})
