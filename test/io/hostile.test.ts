import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { editsOf, outcomeOf, targets } from '../hostile.ts'

const runs = 250

test('a storage that is named by a byte which cannot be shown is refused in one line', async () => {
  const edit = { kind: 'number', at: 0.21, value: 0n, bytes: 2 } as const
  assert.equal((await outcomeOf(targets['torch, pickle']!, [edit])).result, 'refused')
})

for (const [name, target] of Object.entries(targets)) {
  test(`${name}: ${runs} times damaged, it is read or refused in one line, soon and in little memory`, async () => {
    assert.equal((await outcomeOf(target, [])).result, 'read')
    const seen = { read: 0, refused: 0 }
    let slowest = 0
    const property = fc.asyncProperty(editsOf(target), async (list) => {
      const { result, milliseconds } = await outcomeOf(target, list)
      seen[result]++
      slowest = Math.max(slowest, milliseconds)
    })
    await fc.assert(property, { numRuns: runs })
    assert.ok(seen.read > 0 && seen.refused > 0, JSON.stringify(seen))
    assert.ok(slowest < 2000, `${slowest} ms`)
  })
}
