import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseJson, readJsonObject, readWhole } from '../../src/io/json.ts'
import { folder } from '../folder.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test('JSON within its caps is what JSON.parse gives', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 2), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      assert.deepEqual(parseJson('here', bytes(text), { unique: true }), JSON.parse(text))
    }),
  )
})

test('brackets and quotes inside of strings count for nothing', () => {
  const value = { 'a"[[[': ['\\', '{{{,,,:::'], b: '\\"[' }
  assert.deepEqual(parseJson('here', bytes(JSON.stringify(value)), { depth: 2, values: 8 }), value)
})

test('deep, long and large text is refused before it is parsed, quickly', () => {
  const start = process.cpuUsage()
  const deep = bytes('['.repeat(2 ** 22))
  assert.throws(() => parseJson('here', deep), { message: 'here: nests deeper than 64 levels of JSON' })
  assert.throws(
    () => parseJson('here', bytes(`[${'{},'.repeat(2 ** 22)}{}]`)),
    /^Error: here: got 8388610 keys and values/,
  )
  assert.throws(() => parseJson('here', deep, { bytes: 99 }), {
    message: 'here: got 4194304 bytes of JSON, want at most 99',
  })
  assert.ok(process.cpuUsage(start).user < 2e6)
})

test('what is no JSON or no UTF-8 is one line', () => {
  for (const text of ['', '{', '{"a"', '[1,]', '\n\n{"a"\n:}', ']', '"', '"\\']) {
    assert.throws(() => parseJson('here', bytes(text)), { message: /^here: is not JSON: [^\n]+$/ }, text)
  }
  assert.throws(() => parseJson('here', Uint8Array.of(0x22, 0xff, 0x22)), /^Error: here: is not JSON/)
})

test('a key that an object has twice is an error where it matters, also when it is written differently', () => {
  for (const text of ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '[{"b":{"a":1,"a":1}}]']) {
    assert.throws(() => parseJson('here', bytes(text), { unique: true }), /the same key twice/)
    parseJson('here', bytes(text))
  }
})

test('a file is weighed before it is read', async () => {
  const memory = folder({ 'a.json': bytes('{"a":1}'), 'b.json': bytes('[]') })
  assert.deepEqual(await readJsonObject(memory, 'a.json'), { a: 1 })
  await assert.rejects(readJsonObject(memory, 'b.json'), { message: 'memory: b.json: want a JSON object' })
  const unread = { ...memory, read: () => assert.fail('it is read') }
  await assert.rejects(readWhole(unread, 'a.json', 6), { message: 'memory: a.json: got 7 bytes, want at most 6' })
})
