import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gguf } from '@huggingface/gguf'
import { floatEncodings } from '../../src/io/encodings.ts'
import { type GgufFile, openGguf } from '../../src/io/gguf.ts'
import { ggufEncodings } from '../../src/io/ggufBlocks.ts'
import { openSafetensors } from '../../src/io/safetensors.ts'
import { folder } from '../folder.ts'
import { ggufFile, type TestTensor } from '../ggufFile.ts'

const path = 'test/fixtures/gguf/types.gguf'
const types = new Uint8Array(readFileSync(path))
const golden = new Uint8Array(readFileSync('test/fixtures/gguf/types.safetensors'))
const open = (bytes: Uint8Array): Promise<GgufFile> => openGguf(folder({ m: bytes }), 'm')

test('every type of values becomes what ggml makes of it, to the bit', async () => {
  const want = await openSafetensors(folder({ golden }), 'golden')
  const opened = await open(types)
  assert.deepEqual([...opened.names].sort(), [...want.names].sort())
  for (const name of want.names) assert.deepEqual(await opened.tensor(name), await want.tensor(name), name)
  const missing = Object.keys(ggufEncodings).filter((name) => !opened.names.includes(name))
  assert.deepEqual(missing, [], 'types without a golden tensor')
  for (const name of Object.keys(ggufEncodings)) assert.equal(opened.dtype(name), name)
})

test('blocks decode alike wherever they begin and however many are read at a time', () => {
  for (const [name, { values, bytes, decode }] of Object.entries(ggufEncodings)) {
    if (Object.hasOwn(floatEncodings, name)) continue
    const stored = Uint8Array.from({ length: 3 * bytes }, (_, i) => (i * 37) % 120)
    const whole = new Float32Array(3 * values)
    decode(stored, whole)
    const last = new Float32Array(values)
    decode(stored.slice(2 * bytes), last)
    assert.deepEqual(last, whole.slice(2 * values), name)
  }
})

test('metadata of every kind is read', async () => {
  const { metadata } = await open(types)
  const found = Object.fromEntries([...metadata].filter(([key]) => key.startsWith('test.')))
  assert.deepEqual(found, {
    'test.uint8': 200,
    'test.int8': -100,
    'test.uint16': 60000,
    'test.int16': -30000,
    'test.uint32': 4000000000,
    'test.int32': -2000000000,
    'test.float32': 0.5,
    'test.uint64': 2 ** 53 - 1,
    'test.int64': -(2 ** 40),
    'test.float64': 0.1,
    'test.bool': true,
    'test.string': 'hédgehog 🦔',
    'test.strings': ['a', '', 'ü'],
    'test.integers': Int32Array.of(3, -1, 2),
    'test.floats': Float32Array.of(0.5, -0.25),
    'test.booleans': Uint8Array.of(1, 0),
  })
})

test('metadata and tensors are those that the Hub reads', async () => {
  for (const file of [path, 'test/fixtures/gguf/llama.gguf']) {
    const theirs = await gguf(file, { allowLocalFile: true })
    const ours = await open(new Uint8Array(readFileSync(file)))
    const { version: _version, tensor_count: _tensors, kv_count: _pairs, ...metadata } = theirs.metadata
    assert.deepEqual([...ours.metadata.keys()], Object.keys(metadata))
    for (const [key, value] of Object.entries(metadata))
      assert.deepEqual(plain(ours.metadata.get(key)), plain(value), key)
    for (const { name, shape } of theirs.tensorInfos) assert.deepEqual(ours.shape(name), shape.map(Number).reverse())
  }
})

function plain(value: unknown): unknown {
  if (typeof value === 'bigint' || typeof value === 'boolean') return Number(value)
  return typeof value === 'object' ? Array.from(value as Iterable<unknown>, plain) : value
}

test('version 2 reads as version 3 does; others and the other byte order are refused', async () => {
  const versioned = (version: number) => {
    const bytes = types.slice()
    new DataView(bytes.buffer).setUint32(4, version, true)
    return open(bytes)
  }
  assert.deepEqual(await (await versioned(2)).tensor('Q4_K'), await (await open(types)).tensor('Q4_K'))
  await assert.rejects(versioned(1), { message: 'memory/m: got GGUF version 1, want 2 or 3' })
  await assert.rejects(versioned(0x03000000), /want 2 or 3; it is big-endian/)
})

test('a long header is read in growing pieces, tensors by range', async () => {
  const long = ggufFile({
    pairs: { note: Array.from({ length: 2 ** 15 }, () => 'one of many words that make a header long') },
    tensors: { w: { values: [3, 1, 2] } },
  })
  const reads: number[] = []
  const memory = folder({ m: long })
  const watched = {
    ...memory,
    read: (name: string, start = 0, end = long.length) => {
      reads.push(end - start)
      return memory.read(name, start, end)
    },
  }
  const opened = await openGguf(watched, 'm')
  assert.equal((opened.metadata.get('note') as string[]).length, 2 ** 15)
  assert.deepEqual([...(await opened.tensor('w')).data], [3, 1, 2])
  assert.deepEqual(reads, [2 ** 20, Math.min(2 ** 22, long.length), 12])
})

const w: TestTensor = { values: [1, 2, 3, 4, 5, 6, 7, 8] }
const huge = 2n ** 60n
const wrongFiles: readonly [string, Uint8Array, RegExp][] = [
  ['nothing', new Uint8Array(0), /is no GGUF file/],
  ['another format', new Uint8Array(100), /is no GGUF file/],
  ['a cut header', types.subarray(0, 300), /it is cut off/],
  ['cut data', types.subarray(0, types.length - 40), /want an end within .*cut off/],
  [
    'countless tensors',
    ggufFile({ tensors: { w }, claims: { tensors: huge } }),
    /got 1152921504606846976 tensors|got Infinity tensors/,
  ],
  ['countless keys', ggufFile({ claims: { pairs: huge } }), /keys, more than \d+ bytes of a header/],
  ['an endless list', ggufFile({ pairs: { a: ['b'] }, claims: { count: huge } }), /a: got .* list items, more than/],
  ['a list of lists', ggufFile({ pairs: { a: ['b'] }, claims: { type: 9 } }), /a: got a list of type 9/],
  ['an unknown kind', ggufFile({ pairs: { a: 'b' }, claims: { type: 13 } }), /a: got a value of type 13/],
  ['one key twice', ggufFile({ pairs: { 'a#1': 'b', 'a#2': 'c' } }), /has the key a twice/],
  ['one name twice', ggufFile({ tensors: { w, v: { ...w, name: 'w' } } }), /has two tensors w/],
  ['a control character', ggufFile({ tensors: { 'a\nb': w } }), /"a\\nb" cannot be a name/],
  [
    'a type that is not read',
    ggufFile({ tensors: { w: { ...w, type: 16 } } }),
    /w: is stored as IQ2_XXS, which is not read/,
  ],
  ['a type that there is not', ggufFile({ tensors: { w: { ...w, type: 999 } } }), /w: is stored as type 999/],
  [
    'a row of half a block',
    ggufFile({ tensors: { w: { ...w, type: 8 } } }),
    /w: got shape \[8\], want rows of a multiple of 32 for Q8_0/,
  ],
  ['five axes', ggufFile({ tensors: { w: { ...w, shape: [1, 1, 1, 1, 8] } } }), /w: got 5 axes/],
  ['an impossible shape', ggufFile({ tensors: { w: { ...w, shape: [huge, huge] } } }), /w: got (F32 of )?shape/],
  ['an impossible place', ggufFile({ tensors: { w: { ...w, start: huge } } }), /w: got F32 of shape \[8\] from byte/],
  ['an overlap', ggufFile({ tensors: { w, v: { ...w, start: 16 } } }), /v: overlaps w/],
  ['no alignment', ggufFile({ pairs: { 'general.alignment': 0 }, tensors: { w } }), /got alignment 0/],
]

test('each kind of damage is one line that names the file and the damage', async () => {
  await (await open(ggufFile({ pairs: { a: 'b', 'general.alignment': 32 }, tensors: { w } }))).tensor('w')
  for (const [what, bytes, message] of wrongFiles) {
    await assert.rejects(open(bytes), (error: Error) => {
      assert.match(error.message, message, what)
      assert.match(error.message, /^memory\/m: [^\n]+$/, what)
      return true
    })
  }
})
