import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { floats, ints } from '../../src/base/array.ts'
import { createMemory, floatsFor, maxMemoryFloats } from '../../src/runtime/memory.ts'

describe('createMemory', () => {
  it('has room for exactly what floatsFor counts', () => {
    const shapes = [[3, 5], [], [0, 7], [16], [17], [2, 3, 5]]
    const memory = createMemory(floatsFor(shapes))
    for (const shape of shapes) memory.allocate(shape)
    assert.equal(memory.used(), memory.capacity)
    assert.throws(() => memory.allocate([1]), /allocate: got shape \[1\], want at most the 0 floats left of 112/)
    assert.doesNotThrow(() => memory.allocate([0]))
  })

  it('gives zeroed arrays that do not overlap, at multiples of 64 bytes', () => {
    const memory = createMemory(1000)
    const arrays = [[3], [2, 5], [], [33]].map((shape) => memory.allocate(shape))
    arrays.forEach((array, i) => {
      assert.equal(array.data.byteOffset % 64, 0)
      assert.ok(array.data.every((value) => value === 0))
      array.data.fill(i + 1)
    })
    arrays.forEach((array, i) => {
      assert.ok(array.data.every((value) => value === i + 1))
    })
    assert.deepEqual(
      arrays.map((array) => array.data.length),
      [3, 10, 1, 33],
    )
  })

  it('knows its own arrays, and leaves others to the loops', () => {
    const [memory, other] = [createMemory(100), createMemory(100)]
    const [mine, theirs] = [memory.allocate([5]), other.allocate([5])]
    assert.ok(memory.owns(mine) && !memory.owns(theirs) && !memory.owns(floats([5])))
    theirs.data.fill(2)
    memory.add(mine, theirs)
    memory.add(mine, floats([5], [1, 2, 3, 4, 5]))
    assert.deepEqual([...mine.data], [3, 4, 5, 6, 7])
  })

  it('takes more ids than its scratch page holds', () => {
    const n = 16384 * 2 + 3
    const memory = createMemory(
      floatsFor([
        [3, 2],
        [n, 2],
      ]),
    )
    const [table, rows] = [memory.allocate([3, 2]), memory.allocate([n, 2])]
    const ids = ints(
      [n],
      Int32Array.from({ length: n }, (_, i) => i % 3),
    )
    rows.data.forEach((_, i, all) => {
      all[i] = (i % 2) + 1
    })
    memory.addRows(table, rows, ids)
    const counts = [0, 1, 2].map((id) => ids.data.filter((other) => other === id).length)
    assert.deepEqual(
      [...table.data],
      counts.flatMap((count) => [count, 2 * count]),
    )
    memory.gatherRows(rows, table, ids)
    assert.deepEqual([...rows.data.subarray(-2)], [...table.data.subarray(((n - 1) % 3) * 2).subarray(0, 2)])
  })

  it('works in the last bytes of 4 GiB', () => {
    const memory = createMemory(maxMemoryFloats)
    assert.equal(memory.buffer.byteLength, 2 ** 32)
    memory.allocate([maxMemoryFloats - 32])
    const [last, before] = [memory.allocate([9]), memory.allocate([16])]
    assert.equal(before.data.byteOffset, 2 ** 32 - 64)
    memory.fill(before, 3)
    memory.fill(last, 2)
    memory.scale(before, 2)
    memory.add(last, floats([9], [1, 1, 1, 1, 1, 1, 1, 1, 1]))
    assert.equal(memory.sumSquares(before), 16 * 36)
    assert.equal(memory.sumSquares(last), 9 * 9)
  })

  it('says what it cannot hold', () => {
    for (const floats of [0, -1, 1.5, Number.NaN, maxMemoryFloats + 1]) {
      assert.throws(() => createMemory(floats), /createMemory: got .* floats, want a whole number from 1/)
    }
    assert.throws(() => createMemory(10).allocate([-1]), /want whole numbers from 0/)
    assert.throws(() => createMemory(10).allocate([0.5]), RangeError)
  })
})
