import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { growth, repeated } from '../../bench/leaks.ts'

describe('memory stays flat over', () => {
  for (const [name, open] of Object.entries(repeated)) {
    it(name, async () => {
      const found = await growth(open, 40)
      // `npm run bench -- leaks` measures hundreds, where 2 % hold; here a small process still settles.
      assert.ok(found < 0.05, `${(100 * found).toFixed(1)} % after 40`)
    })
  }
})
