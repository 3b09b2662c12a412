import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { floats, ints } from '../../src/base/array.ts'
import { headRows, labelledRows, scatteredRows } from '../../src/execute/rows.ts'

const width = 3
const states = (rows: number) =>
  floats(
    [rows, width],
    Float32Array.from({ length: rows * width }, (_, i) => i + 1),
  )

/** Labels of so many rows, of which those in `at` count. */
function labelsAt(rows: number, at: readonly number[]) {
  const data = new Int32Array(rows).fill(-100)
  for (const row of at) data[row] = row % 7
  return ints([rows], data)
}

describe('labelledRows', () => {
  it('has every labelled row with its label in order, and fills up with rows that do not count', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.array(fc.nat(59), { maxLength: 12 }), (rows, wanted) => {
        const at = [...new Set(wanted.filter((row) => row < rows))].sort((a, b) => a - b)
        const h = states(rows)
        const labels = labelsAt(rows, at)
        const picked = labelledRows(h, labels)
        if (!picked.from) {
          assert.equal(picked.h, h)
          assert.equal(picked.labels, labels)
          return
        }
        assert.deepEqual([...picked.from], at)
        for (const [i, row] of at.entries()) {
          assert.equal(picked.labels.data[i], row % 7)
          assert.deepEqual(
            picked.h.data.subarray(i * width, (i + 1) * width),
            h.data.subarray(row * width, (row + 1) * width),
          )
        }
        assert.ok(picked.labels.data.subarray(at.length).every((label) => label < 0))
        assert.ok(picked.h.shape[0]! < rows)
      }),
    )
  })

  it('meets few sizes: powers of two, and whole blocks before them', () => {
    const sizeOf = (count: number, rows: number) => {
      const at = Array.from({ length: count }, (_, i) => i)
      return labelledRows(states(rows), labelsAt(rows, at)).h.shape[0]
    }
    assert.deepEqual(
      [0, 1, 2, 3, 5, 8, 9].map((count) => sizeOf(count, 64)),
      [0, 1, 2, 4, 8, 8, 16],
    )
    assert.equal(sizeOf(headRows + 3, 4 * headRows), headRows + 4)
    assert.equal(sizeOf(33, 64), 64)
  })

  it('refuses other than one label per row', () => {
    assert.throws(() => labelledRows(states(4), labelsAt(5, [])), /loss: got 5 labels for 4 positions/)
  })
})

describe('scatteredRows', () => {
  it('puts picked rows back and leaves zeros elsewhere', () => {
    const h = states(9)
    const { h: picked, from } = labelledRows(h, labelsAt(9, [1, 4, 8]))
    const back = scatteredRows(picked, from!, 9)
    for (let i = 0; i < h.data.length; i++) {
      const kept = [1, 4, 8].includes(Math.floor(i / width))
      assert.equal(back.data[i], kept ? h.data[i] : 0)
    }
  })
})
