import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type FloatArray, floats, type Params } from '../../src/base/array.ts'
import { checkFinite, openSafetensors, writeSafetensors } from '../../src/io/safetensors.ts'
import { folder } from '../folder.ts'

/** A file from a header and a number of data bytes. */
function file(header: unknown, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const bytes = new Uint8Array(8 + json.length + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true)
  bytes.set(json, 8)
  return bytes
}

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 })
const arrays: fc.Arbitrary<FloatArray> = shapes.chain((shape) => {
  const length = shape.reduce((product, size) => product * size, 1)
  const value = fc.float({ noNaN: true, noDefaultInfinity: true, min: -60000, max: 60000 })
  return fc.array(value, { minLength: length, maxLength: length }).map((data) => floats(shape, data))
})
const names = fc.string({ minLength: 1 }).filter((name) => !['__proto__', '__metadata__'].includes(name))
const models: fc.Arbitrary<Params> = fc.dictionary(names, arrays, { noNullPrototype: true })

test('what is written as float32 is read back bit for bit, with its metadata', async () => {
  await fc.assert(
    fc.asyncProperty(models, fc.dictionary(names, fc.string(), { noNullPrototype: true }), async (params, metadata) => {
      const memory = folder()
      await writeSafetensors(memory, 'm', params, { metadata })
      const opened = await openSafetensors(memory, 'm')
      assert.deepEqual([...opened.names].sort(), Object.keys(params).sort())
      assert.deepEqual({ ...opened.metadata }, metadata)
      for (const name of opened.names) {
        assert.deepEqual(opened.shape(name), params[name]!.shape)
        assert.deepEqual(await opened.tensor(name), params[name])
      }
    }),
  )
})

test('half precision takes half the bytes and is near: 2^-11 for float16, 2^-8 for bfloat16', async () => {
  const data = Float32Array.from({ length: 35 }, (_, i) => Math.sin(i * 7.1) + 1.5)
  const params = { w: floats([5, 7], data), b: floats([1], [0.25]) }
  for (const [dtype, tolerance] of [
    ['float16', 2 ** -11],
    ['bfloat16', 2 ** -8],
  ] as const) {
    const memory = folder()
    await writeSafetensors(memory, 'm', params, { dtype })
    const read = (await (await openSafetensors(memory, 'm')).tensor('w')).data
    for (const [i, value] of data.entries()) assert.ok(Math.abs(read[i]! - value) <= tolerance * value)
    assert.ok(memory.files.m!.length < 72 + 200)
  }
})

test('a value too large for float16 is refused by name, and infinity is not', async () => {
  const large = { big: floats([2], [1, 70000]) }
  await assert.rejects(
    writeSafetensors(folder(), 'm', large, { dtype: 'float16' }),
    /memory\/m: big: got the value 70000/,
  )
  const memory = folder()
  await writeSafetensors(memory, 'm', { x: floats([1], [Infinity]) }, { dtype: 'float16' })
  assert.equal((await (await openSafetensors(memory, 'm')).tensor('x')).data[0], Infinity)
})

test('the header is padded so that data begins at a multiple of 8', async () => {
  for (const name of ['a', 'ab', 'abc', 'é']) {
    const memory = folder()
    await writeSafetensors(memory, 'm', { [name]: floats([1]) })
    assert.equal((memory.files.m!.length - 4) % 8, 0)
  }
})

const a = { dtype: 'F32', shape: [2], data_offsets: [0, 8] }
const wrongFiles: readonly [string, Uint8Array, RegExp][] = [
  ['nothing', new Uint8Array(0), /got 0 bytes/],
  ['a cut header', file({ a }, 8).subarray(0, 20), /cut off/],
  ['a huge header', new Uint8Array(16).fill(255), /header of/],
  ['no JSON', file('{"a"', 0), /not JSON/],
  ['an array', file([a], 8), /not a JSON object/],
  ['bad UTF-8', Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0x22, 0xff), /not JSON/],
  ['cut data', file({ a }, 7), /cut off/],
  ['more data', file({ a }, 9), /longer than its tensors/],
  ['a gap', file({ a, b: { ...a, data_offsets: [12, 20] } }, 20), /b: leaves a gap/],
  ['an overlap', file({ a, b: { ...a, data_offsets: [4, 12] } }, 12), /b: overlaps/],
  ['bytes unlike the shape', file({ a: { ...a, shape: [3] } }, 8), /a: got 8 bytes, want 12 for F32 of shape \[3\]/],
  ['an unknown dtype', file({ a: { ...a, dtype: 'F31' } }, 8), /a: got dtype "F31"/],
  ['a negative size', file({ a: { ...a, shape: [-2] } }, 8), /a: got shape \[-2\]/],
  ['a fractional offset', file({ a: { ...a, data_offsets: [0, 8.5] } }, 8), /a: got data_offsets/],
  ['offsets the wrong way', file({ a: { ...a, data_offsets: [8, 0] } }, 8), /a: got data_offsets/],
  ['an entry that is no object', file({ a: 7 }, 0), /a: is not described/],
  ['metadata that is no text', file({ __metadata__: { x: 1 }, a }, 8), /__metadata__/],
  ['a tensor named __proto__', file('{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0), /__proto__/],
]

test('each kind of damage is one line that names the file and the damage', async () => {
  for (const [what, bytes, message] of wrongFiles) {
    await assert.rejects(openSafetensors(folder({ m: bytes }), 'm'), (error: Error) => {
      assert.match(error.message, message, what)
      assert.match(error.message, /^memory\/m: [^\n]+$/, what)
      return true
    })
  }
})

test('a file with any bytes changed opens with readable tensors or with an Error that names it', async () => {
  const memory = folder()
  await writeSafetensors(memory, 'm', { a: floats([2, 3]), bc: floats([]) }, { metadata: { k: 'v' } })
  const whole = memory.files.m!
  const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(edits, fc.nat(whole.length), async (changes, length) => {
      const bytes = whole.slice(0, length > 20 ? whole.length : length)
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
      try {
        const opened = await openSafetensors(folder({ m: bytes }), 'm')
        for (const name of opened.names) await opened.tensor(name)
      } catch (error) {
        assert.ok(error instanceof Error && error.message.startsWith('memory/m: '), String(error))
      }
    }),
    { numRuns: 1000 },
  )
})

test('integers are tolerated beside floats, but reading them as floats is refused', async () => {
  const ids = { dtype: 'I64', shape: [1], data_offsets: [8, 16] }
  const opened = await openSafetensors(folder({ m: file({ ids, a }, 16) }), 'm')
  assert.deepEqual(opened.names, ['a', 'ids'])
  assert.deepEqual((await opened.tensor('a')).shape, [2])
  await assert.rejects(opened.tensor('ids'), /ids is stored as I64, want one of F32, F16, BF16, F64/)
  await assert.rejects(opened.tensor('none'), /has no tensor none/)
})

test('a value that is not finite is named by its place', () => {
  checkFinite('w', floats([2], [1, -1]))
  for (const bad of [Number.NaN, Infinity, -Infinity]) {
    assert.throws(() => checkFinite('h.0.w', floats([3], [0, 1, bad])), {
      message: `h.0.w: value 2 is ${bad}, want finite numbers`,
    })
  }
})
