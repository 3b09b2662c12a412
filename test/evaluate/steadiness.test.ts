import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { steadiness } from '../../src/evaluate/steadiness.ts'
import { spearman } from '../../src/metrics/ranks.ts'
import * as reference from '../reference.ts'

/** Rows of equal length with many ties, as weights that vanish in float32 have. */
const pairOfRows = fc
  .array(fc.tuple(fc.integer({ min: -4, max: 4 }), fc.integer({ min: -3, max: 3 })), { minLength: 2, maxLength: 40 })
  .map((pairs) => [pairs.map(([x]) => x), pairs.map(([, y]) => y)] as const)

describe('steadiness', () => {
  it('counts the inversions that comparing every pair counts, ties in either left out', () => {
    fc.assert(
      fc.property(pairOfRows, ([x, y]) => {
        assert.ok(Math.abs(steadiness(x)(y).inversions - reference.inversionShare(x, y)) < 1e-12)
      }),
    )
  })

  it("correlates as Spearman's correlation does", () => {
    fc.assert(
      fc.property(pairOfRows, ([x, y]) => {
        assert.ok(Math.abs(steadiness(x)(y).correlation - spearman(x, y)) < 1e-12)
      }),
    )
  })

  it('compares one row with many, changing none', () => {
    const x = [0.3, -1, 2, 0.3, 5]
    const against = steadiness(x)
    assert.deepEqual(against(x.map(Math.exp)), { correlation: 1, inversions: 0 })
    assert.deepEqual(against(x.map((value) => -value)), { correlation: -1, inversions: 9 / 10 })
    assert.deepEqual(against(x.map(() => 7)), { correlation: 0, inversions: 0 })
    assert.deepEqual(x, [0.3, -1, 2, 0.3, 5])
  })

  it('is a number for a row of none or one, and an error for rows of different lengths', () => {
    for (const x of [[], [2]]) assert.deepEqual(steadiness(x)(x), { correlation: 0, inversions: 0 })
    assert.throws(() => steadiness([1, 2])([1]), /got 1 values beside 2/)
  })
})
