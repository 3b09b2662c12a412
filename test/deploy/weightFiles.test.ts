import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { byteLength, type StoredWeight } from '../../src/deploy/storage.ts'
import { weightFiles } from '../../src/deploy/weightFiles.ts'
import { joined } from './exports.ts'

function weight(name: string, length: number, value: number): StoredWeight {
  return { name, dtype: 'uint8', shape: [length], bytes: () => filled(length, value) }
}

async function* filled(length: number, value: number) {
  yield new Uint8Array(length).fill(value)
}

test('every weight is where it is said to be, in files no larger than the limit unless one weight is', async () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(lengths, fc.integer({ min: 64, max: 900 }), async (sizes, limit) => {
      const weights = sizes.map((length, i) => weight(`w${i}`, length, i + 1))
      const { places, files } = weightFiles('model.onnx', weights, limit)
      const contents: Record<string, Buffer> = {}
      for (const { name, parts } of files) contents[name] = await joined(parts())
      for (const { name, size } of files) {
        assert.equal(contents[name]!.length, size)
        const inside = weights.filter((one) => (places[one.name] as { file: string }).file === name)
        assert.ok(size <= limit || inside.length === 1)
      }
      for (const [i, one] of weights.entries()) {
        const place = places[one.name] as { file: string; offset: number; length: number }
        assert.equal(place.offset % 64, 0)
        assert.equal(place.length, byteLength(one))
        const bytes = contents[place.file]!.subarray(place.offset, place.offset + place.length)
        assert.ok(bytes.every((value) => value === i + 1))
      }
    }),
  )
})

test('files are named as browsers look for them, and a weight that shares bytes takes none', () => {
  const twin: StoredWeight = { ...weight('twin', 90, 0), sameAs: 'a' }
  const { places, files } = weightFiles('model_q4.onnx', [weight('a', 90, 1), twin, weight('b', 90, 2)], 100)
  assert.deepEqual(
    files.map(({ name, size }) => [name, size]),
    [
      ['model_q4.onnx_data', 90],
      ['model_q4.onnx_data_1', 90],
    ],
  )
  assert.equal(places.twin, places.a)
})
