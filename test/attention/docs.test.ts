import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'
import { withTables } from '../../scripts/attention-table.ts'

it('docs/attention.md has the tables that the code gives; npm run docs writes them', () => {
  const text = readFileSync('docs/attention.md', 'utf8')
  assert.equal(text, withTables(text))
})
