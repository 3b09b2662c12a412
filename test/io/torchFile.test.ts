import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { sizeOf } from '../../src/base/array.ts'
import { openCheckpoint } from '../../src/io/checkpoint.ts'
import { openSafetensors } from '../../src/io/safetensors.ts'
import { openTorch } from '../../src/io/torchFile.ts'
import { folder } from '../folder.ts'

const fixture = (name: string) => new Uint8Array(readFileSync(`test/fixtures/torch/${name}`))
const plain = fixture('plain.bin')

test('every floating-point tensor is what PyTorch makes of it, whatever its dtype, strides and protocol', async () => {
  const golden = await openSafetensors(folder({ golden: fixture('golden.safetensors') }), 'golden')
  for (const file of ['plain.bin', 'deflated.bin', 'protocol4.bin']) {
    const opened = await openTorch(folder({ m: fixture(file) }), 'm')
    assert.deepEqual(
      opened.names.filter((name) => !['ids', 'mask'].includes(name)).sort(),
      [...golden.names].sort(),
      file,
    )
    for (const name of golden.names) assert.deepEqual(await opened.tensor(name), await golden.tensor(name), name)
  }
})

test('dtypes are told, and integers are refused as weights', async () => {
  const opened = await openTorch(folder({ m: plain }), 'm')
  const dtypes = ['float32', 'float16', 'bfloat16', 'float64', 'ids', 'mask'].map(opened.dtype)
  assert.deepEqual(dtypes, ['F32', 'F16', 'BF16', 'F64', 'I64', 'BOOL'])
  assert.deepEqual(opened.shape('transposed'), [6, 4])
  await assert.rejects(opened.tensor('ids'), { message: /^memory\/m: ids: is stored as I64, want one of F32/ })
  await assert.rejects(opened.tensor('none'), /has no tensor none/)
})

test('a dictionary of weights is found beside other things', async () => {
  const opened = await openTorch(folder({ m: fixture('nested.bin') }), 'm')
  assert.deepEqual(opened.names, ['w'])
  assert.deepEqual([...(await opened.tensor('w')).data], [1, 1, 1, 1, 1, 1])
})

test('a tensor is read by its range: no read is as long as the file', async () => {
  const memory = folder({ m: plain })
  let longest = 0
  const read = (path: string, start = 0, end = plain.length) => {
    longest = Math.max(longest, end - start)
    return memory.read(path, start, end)
  }
  const opened = await openTorch({ ...memory, read }, 'm')
  longest = 0
  await opened.tensor('float32')
  assert.equal(longest, 4 * 30)
})

test('shards with an index read as one file does', async () => {
  const index = { weight_map: { scalar: 'a.bin', w: 'b.bin' } }
  const files = { 'a.bin': plain, 'b.bin': fixture('nested.bin') }
  const sharded = await openCheckpoint(
    folder({ ...files, 'pytorch_model.bin.index.json': new TextEncoder().encode(JSON.stringify(index)) }),
  )
  assert.deepEqual(sharded.names, ['scalar', 'w'])
  assert.deepEqual([...(await sharded.tensor('scalar')).data], [1.5])
  assert.equal(sharded.dtype('w'), 'F32')
})

test('a pickle that asks for anything but tensors is refused by name, and nothing is run', async () => {
  const faults: Record<string, RegExp> = {
    'calls.bin': /asks for posix\.system; only tensors in plain containers are read/,
    'class.bin': /asks for argparse\.Namespace;/,
    'script.bin': /is a TorchScript program/,
    'old.bin': /is of PyTorch before 1\.6; load it in PyTorch and save it again/,
  }
  for (const [file, message] of Object.entries(faults)) {
    await assert.rejects(openTorch(folder({ m: fixture(file) }), 'm'), (error: Error) => {
      assert.match(error.message, message)
      assert.match(error.message, /^memory\/m: [^\n]+$/)
      return true
    })
  }
  assert.ok(!existsSync('hedgehog-was-here'))
})

/** A pickle of protocol 2 from its opcodes. */
function pickle(...parts: readonly (string | number)[]): Uint8Array {
  return Uint8Array.from([
    0x80,
    2,
    ...parts.flatMap((part) => [...Buffer.from(typeof part === 'string' ? part : [part])]),
    0x2e,
  ])
}

const text = (value: string) => [0x58, value.length, 0, 0, 0, value] as const
const int = (value: number) => [0x4a, ...new Uint8Array(Int32Array.of(value).buffer)] as const
const tuple = (...values: readonly number[]) => ['(', ...values.flatMap(int), 't'] as const

/** A tensor "w" over the storage "0" of four float32 values. */
function describing(offset: number, shape: readonly number[], strides: readonly number[], size = 4): Uint8Array {
  const storage = [
    '(',
    ...text('storage'),
    'ctorch\nFloatStorage\n',
    ...text('0'),
    ...text('cpu'),
    ...int(size),
    't',
    'Q',
  ]
  const args = ['(', ...storage, ...int(offset), ...tuple(...shape), ...tuple(...strides), 't']
  return pickle('}', ...text('w'), 'ctorch._utils\n_rebuild_tensor_v2\n', ...args, 'R', 's')
}

/** An archive of members; `claims` puts lies into their descriptions. */
function archive(
  members: Record<string, Uint8Array>,
  {
    deflate = false,
    claims = {} as Record<string, Partial<Record<'size' | 'packed' | 'header' | 'flags' | 'method', number>>>,
  } = {},
): Uint8Array {
  const parts: Buffer[] = []
  const list: Buffer[] = []
  let at = 0
  for (const [name, bytes] of Object.entries(members)) {
    const stored = deflate ? deflateRawSync(bytes) : Buffer.from(bytes)
    const lie = {
      size: bytes.length,
      packed: stored.length,
      header: at,
      flags: 0,
      method: deflate ? 8 : 0,
      ...claims[name],
    }
    const own = Buffer.alloc(30)
    own.writeUInt32LE(0x04034b50)
    own.writeUInt16LE(name.length, 26)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50)
    entry.writeUInt16LE(lie.flags, 8)
    entry.writeUInt16LE(lie.method, 10)
    entry.writeUInt32LE(lie.packed, 20)
    entry.writeUInt32LE(lie.size, 24)
    entry.writeUInt16LE(name.length, 28)
    entry.writeUInt32LE(lie.header, 42)
    parts.push(own, Buffer.from(name), stored)
    list.push(entry, Buffer.from(name))
    at += 30 + name.length + stored.length
  }
  const directory = Buffer.concat(list)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50)
  end.writeUInt16LE(Object.keys(members).length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(at, 16)
  return new Uint8Array(Buffer.concat([...parts, directory, end]))
}

const storage = new Uint8Array(Float32Array.of(10, 11, 12, 13).buffer)
const checkpoint = (data: Uint8Array, options = {}) => archive({ 'a/data.pkl': data, 'a/data/0': storage }, options)

test('strides and offsets address a storage as they say, for any that stay inside', async () => {
  const views = fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 3 }).chain((axes) => {
    const last = axes.some(([size]) => size === 0)
      ? 0
      : axes.reduce((sum, [size, stride]) => sum + (size - 1) * stride, 0)
    return fc.record({ axes: fc.constant(axes), offset: fc.nat(Math.max(0, 3 - last)), fits: fc.constant(last < 4) })
  })
  await fc.assert(
    fc.asyncProperty(views, fc.boolean(), async ({ axes, offset, fits }, deflate) => {
      const [shape, strides] = [axes.map(([size]) => size), axes.map(([, stride]) => stride)]
      const open = openTorch(folder({ m: checkpoint(describing(offset, shape, strides), { deflate }) }), 'm')
      if (!fits) return assert.rejects(open, /that ends at/)
      const { data } = await (await open).tensor('w')
      assert.equal(data.length, sizeOf(shape))
      const want = Array.from(data, (_, flat) => {
        let [rest, at] = [flat, offset]
        for (let axis = shape.length - 1; axis >= 0; axis--) {
          at += (rest % shape[axis]!) * strides[axis]!
          rest = Math.floor(rest / shape[axis]!)
        }
        return 10 + at
      })
      assert.deepEqual([...data], want)
    }),
    { numRuns: 300 },
  )
})

const good = describing(0, [4], [1])
const wrongFiles: readonly [string, Uint8Array, RegExp][] = [
  ['nothing', new Uint8Array(0), /is no zip archive/],
  ['half a file', plain.subarray(0, plain.length / 2), /is no zip archive, or is cut off/],
  ['no pickle', archive({ x: storage }), /has no data\.pkl/],
  ['a missing storage', archive({ 'a/data.pkl': good }), /w: its storage 0 is not in the file/],
  [
    'a short storage',
    archive({ 'a/data.pkl': good, 'a/data/0': storage.subarray(4) }),
    /w: got 12 bytes, want 16 for 4/,
  ],
  ['a long tensor', checkpoint(describing(0, [2 ** 31 - 1, 2 ** 31 - 1], [0, 0])), /over only 4 values/],
  ['a negative size', checkpoint(describing(0, [-1], [1])), /are no numbers that fit/],
  ['a storage of other size', checkpoint(describing(0, [4], [1], 5)), /w: got 16 bytes, want 20/],
  ['no dictionary', checkpoint(pickle('N')), /holds no dictionary of tensors/],
  ['one key twice', checkpoint(pickle('}', ...text('w'), 'N', 's', ...text('w'), 'N', 's')), /has the key w twice/],
  ['an encrypted member', checkpoint(good, { claims: { 'a/data/0': { flags: 1 } } }), /a\/data\/0 is encrypted/],
  ['another compression', checkpoint(good, { claims: { 'a/data/0': { method: 14 } } }), /by method 14/],
  ['a member inside another', checkpoint(good, { claims: { 'a/data/0': { header: 0 } } }), /overlaps another member/],
  ['a member past the end', checkpoint(good, { claims: { 'a/data/0': { header: 9999 } } }), /lies outside of the file/],
  ['a lying size', checkpoint(good, { claims: { 'a/data/0': { size: 2 ** 31 } } }), /got 16 bytes for 2147483648/],
  [
    'an impossible ratio',
    checkpoint(good, { deflate: true, claims: { 'a/data/0': { size: 2 ** 31 } } }),
    /for 2147483648/,
  ],
  ['a huge pickle', archive({ 'a/data.pkl': new Uint8Array(2 ** 25 + 1) }, { deflate: true }), /want at most 33554432/],
  ['big-endian values', archive({ 'a/data.pkl': good, 'a/byteorder': Buffer.from('big') }), /got byte order "big"/],
  ['an endless name', checkpoint(pickle('c', 'x'.repeat(600))), /has a name without an end/],
  ['a new object', checkpoint(pickle('N', 'N', 0x81)), /opcode NEWOBJ/],
  ['a crowd of dictionaries', checkpoint(pickle('}'.repeat(2 ** 20))), /makes more values than any checkpoint has/],
  ['a long integer', checkpoint(pickle(0x8b, 0, 0, 0, 1)), /an integer of 16777216 bytes/],
  ['text that is cut off', checkpoint(pickle('X', 255, 255, 255, 255)), /want 4294967295 more bytes/],
]

test('each kind of damage is one line that names the file and the damage', async () => {
  for (const [what, bytes, message] of wrongFiles) {
    const read = async () => {
      const opened = await openTorch(folder({ m: bytes }), 'm')
      for (const name of opened.names) await opened.tensor(name)
    }
    await assert.rejects(read(), (error: Error) => {
      assert.match(error.message, message, what)
      assert.match(error.message, /^memory\/m: [^\n]+$/, what)
      return true
    })
  }
})

test('a bomb that keeps its promises inflates no further than what is asked for', async () => {
  const zeros = new Uint8Array(2 ** 26)
  const bytes = archive({ 'a/data.pkl': describing(0, [4], [1], 2 ** 24), 'a/data/0': zeros }, { deflate: true })
  const opened = await openTorch(folder({ m: bytes }), 'm')
  const before = process.memoryUsage().arrayBuffers
  assert.deepEqual([...(await opened.tensor('w')).data], [0, 0, 0, 0])
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 23)
})
