import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { savedBytes } from '../../src/execute/saved.ts'
import { bert } from '../../src/models/bert.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { llama } from '../../src/models/llama.ts'

const sizes = { layers: 2, heads: 4, width: 32, vocab: 97, maxLength: 64 }

describe('the bytes that a block keeps for its way back', () => {
  const rows = { batch: 3, length: 16 }

  it('are those of the values that its family names', () => {
    // Queries, attended values and the state between the branches; keys and values of half the heads; gate and up.
    const config = llama.configOf({ ...sizes, keyHeads: 2, inner: 80 })
    assert.equal(savedBytes(config, rows), 4 * 48 * (3 * 32 + 2 * 16 + 2 * 80))
    // Queries, keys and values as one; attended values; the state between the branches; the inside of the second.
    assert.equal(savedBytes(gpt2.configOf(sizes), rows), 4 * 48 * (3 * 32 + 32 + 32 + 4 * 32))
  })

  it('grow with the tokens, whatever the attention', () => {
    for (const family of [gpt2, llama, bert]) {
      const plain = family.configOf(sizes)
      const linear = family.configOf({ ...sizes, attention: { kind: 'linear', map: 'hedgehog' } })
      assert.equal(savedBytes(plain, { batch: 6, length: 8 }), savedBytes(plain, rows))
      assert.equal(savedBytes(linear, { batch: 3, length: 32 }), 2 * savedBytes(plain, rows))
    }
  })
})
