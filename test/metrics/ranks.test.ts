import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { pearson, ranks, spearman } from '../../src/metrics/ranks.ts'
import * as reference from '../reference.ts'

describe('ranks', () => {
  const numbers = fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 2, maxLength: 12 })
  const pairs = numbers.chain((a) =>
    fc.tuple(fc.constant(a), fc.array(fc.integer(), { minLength: a.length, maxLength: a.length })),
  )

  it('and correlations are those of the reference', () => {
    fc.assert(
      fc.property(pairs, ([a, b]) => {
        assert.deepEqual(
          [...ranks(a)],
          reference.ranks(a).map((rank) => rank - 1),
        )
        const [got, want] = [spearman(a, b), reference.spearman(a, b)]
        // The reference divides 0 by 0 where a side does not vary.
        assert.ok(Number.isNaN(want) ? got === 0 : Math.abs(got - want) < 1e-9)
      }),
    )
  })

  it('do not change under a rising function, and turn with a falling one', () => {
    fc.assert(
      fc.property(pairs, ([a, b]) => {
        const value = spearman(a, b)
        assert.ok(
          Math.abs(
            spearman(
              a.map((x) => Math.exp(x)),
              b,
            ) - value,
          ) < 1e-9,
        )
        assert.ok(
          Math.abs(
            spearman(
              a.map((x) => -x),
              b,
            ) + value,
          ) < 1e-9,
        )
        assert.ok(Math.abs(spearman(b, a) - value) < 1e-9)
      }),
    )
    assert.ok(Math.abs(pearson([1, 2, 3], [10, 20, 30]) - 1) < 1e-12)
  })
})
