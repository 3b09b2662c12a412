import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type DatasetName, datasets } from '../../src/tasks/datasets.ts'
import { collected, type Example } from '../../src/tasks/examples.ts'
import { listOps, listOpsSource } from '../../src/tasks/listops.ts'
import { memory } from './memory.ts'

type Name = Extract<DatasetName, `lra-${string}`>
type Files = Record<string, string | Uint8Array>
const decode = (png: Uint8Array) => png
const read = (name: Name, split: string, files: Files) =>
  collected<Example<Uint8Array>>(datasets[name].read(memory(files), split, { decode }))
const bytes = (text: string) => new TextEncoder().encode(text)

describe('ListOps of the release', () => {
  test('gives what was generated, through its own form', async () => {
    const stream = listOps({ minLength: 3, maxLength: 30 }, { seed: 1 })
    const examples = [1, 2, 3].map((): Example<Uint8Array> => stream.next().value)
    const lines = examples.map(({ input, label }) => `${listOpsSource(input)}\t${label}\r\n`)
    const files = { 'basic_val.tsv': `Source\tTarget\r\n${lines.join('')}` }
    assert.deepEqual(await read('lra-listops', 'validation', files), examples)
  })

  test('that is malformed names file and line', async () => {
    const header = 'Source\tTarget\n'
    const faults: [string, RegExp][] = [
      ['Input\tTarget\n', /^Error: data\/basic_test.tsv:1: got the columns Input, Target, want Source and Target/],
      [`${header}4\t4\n( [MAX 4 ) ] )\n`, /^Error: data\/basic_test.tsv:3: got 1 columns, want Source and Target/],
      [`${header}( [MAX 4 ) } )\t4\n`, /^Error: data\/basic_test.tsv:2: got "}", want one of 0 1/],
      [`${header}4\t10\n`, /^Error: data\/basic_test.tsv:2: got the label "10", want one of 0, 1/],
    ]
    for (const [content, message] of faults) {
      await assert.rejects(read('lra-listops', 'test', { 'basic_test.tsv': content }), message)
    }
  })
})

test('film reviews are bytes, negative ones first', async () => {
  const files = {
    'train/pos/0_9.txt': 'Très bon',
    'train/neg/0_3.txt': 'bad',
    'train/neg/1_1.txt': 'worse',
    'train/unsup/0_0.txt': 'not read',
    'train/labeledBow.feat': 'not read',
    'test/pos/0_10.txt': 'good',
    'test/neg/0_2.txt': 'bad',
  }
  assert.deepEqual(await read('lra-text', 'train', files), [
    { input: bytes('bad'), label: 0 },
    { input: bytes('worse'), label: 0 },
    { input: bytes('Très bon'), label: 1 },
  ])
  assert.equal((await read('lra-text', 'test', files)).length, 2)
})

describe('pairs of papers', () => {
  test('are bytes, whatever quotes stand in them', async () => {
    const files = { 'new_aan_pairs.eval.tsv': '1.0\tP01\tP02\t"Parsing\té\n0\tP03\tP04\ta "b"\t\n' }
    assert.deepEqual(await read('lra-retrieval', 'validation', files), [
      { input: bytes('"Parsing'), pair: bytes('é'), label: 1 },
      { input: bytes('a "b"'), pair: bytes(''), label: 0 },
    ])
  })

  test('that are malformed name file and line', async () => {
    const path = 'new_aan_pairs.train.tsv'
    const good = '1\ta\tb\tc\td\n'
    await assert.rejects(read('lra-retrieval', 'train', { [path]: `${good}1\ta\tb\tc\n` }), {
      message: `data/${path}:2: got 4 columns, want 5: label, two ids, two texts`,
    })
    await assert.rejects(
      read('lra-retrieval', 'train', { [path]: `${good}2\ta\tb\tc\td\n` }),
      /tsv:2: got the label "2"/,
    )
  })
})

describe('CIFAR-10', () => {
  /** A record whose pixels are all of one colour, but for the first. */
  const record = (label: number, [r, g, b]: readonly [number, number, number]) => {
    const found = new Uint8Array(3073).fill(r, 1, 1025).fill(g, 1025, 2049).fill(b, 2049)
    found[0] = label
    found[1] = found[1025] = found[2049] = 255
    return found
  }
  const file = (count: number, from: number) =>
    new Uint8Array(Buffer.concat(Array.from({ length: count }, (_, i) => record((from + i) % 10, [10, 20, 200]))))
  const files = Object.fromEntries([1, 2, 3, 4, 5].map((n) => [`data_batch_${n}.bin`, file(4, 4 * (n - 1))]))

  test('is read as grey pixels, nine tenths for training and one for validation', async () => {
    const train = await read('lra-image', 'train', files)
    const validation = await read('lra-image', 'validation', files)
    assert.deepEqual(
      [...train, ...validation].map(({ label }) => label),
      Array.from({ length: 20 }, (_, i) => i % 10),
    )
    assert.equal(validation.length, 2)
    const { input } = train[0]!
    assert.equal(input.length, 1024)
    assert.equal(input[0], 255)
    const grey = 0.2989 * 10 + 0.587 * 20 + 0.114 * 200
    assert.ok(Math.abs(input[1023]! - grey) <= 1, `${input[1023]}, want ${grey}`)
    assert.equal((await read('lra-image', 'test', { 'test_batch.bin': file(3, 0) })).length, 3)
  })

  test('of another size or label names file and picture', async () => {
    const cut = { 'test_batch.bin': file(2, 0).subarray(1) }
    await assert.rejects(
      read('lra-image', 'test', cut),
      /^Error: data\/test_batch.bin: got 6145 bytes, want a multiple of 3073/,
    )
    const wrong = { 'test_batch.bin': new Uint8Array(Buffer.concat([file(1, 0), record(11, [0, 0, 0])])) }
    await assert.rejects(
      read('lra-image', 'test', wrong),
      /^Error: data\/test_batch.bin: got label 11 of picture 1, want 0 to 9/,
    )
  })
})

describe('Pathfinder', () => {
  const picture = (n: number) => new Uint8Array(1024).fill(n)
  const line = (i: number, n: number) => `imgs/${i} sample_${n}.png ${n} ${n % 2} 0.1 0.2 3`
  const files: Files = { 'metadata/10.npy': `${line(10, 20)}\n`, 'imgs/10/sample_20.png': picture(20) }
  for (let n = 0; n < 20; n++) {
    const list = `metadata/${Math.floor(n / 10)}.npy`
    files[list] = `${files[list] ?? ''}${line(Math.floor(n / 10), n)}\n`
    files[`imgs/${Math.floor(n / 10)}/sample_${n}.png`] = picture(n)
  }

  test('is split into eight, one and one tenth, in an order that stays', async () => {
    const parts = await Promise.all(
      ['train', 'validation', 'test'].map((split) => read('lra-pathfinder', split, files)),
    )
    assert.deepEqual(
      parts.map(({ length }) => length),
      [17, 2, 2],
    )
    const all = parts.flat()
    assert.equal(new Set(all.map(({ input }) => input[0])).size, 21)
    for (const { input, label } of all) assert.equal(label, input[0]! % 2)
    assert.notDeepEqual(
      all.slice(0, 17).map(({ input }) => input[0]),
      Array.from({ length: 17 }, (_, i) => i),
    )
    assert.deepEqual(await read('lra-pathfinder', 'train', files), parts[0])
  })

  test('leaves out files without bytes', async () => {
    const empty = { ...files, 'imgs/0/sample_3.png': new Uint8Array(0) }
    const parts = await Promise.all(
      ['train', 'validation', 'test'].map((split) => read('lra-pathfinder', split, empty)),
    )
    const found = parts.flat().map(({ input }) => input[0])
    assert.equal(found.length, 20)
    assert.ok(!found.includes(3))
  })

  test('that is malformed names file and line, or picture; without a decoder it says so', async () => {
    const short = { ...files, 'metadata/0.npy': `${line(0, 0)}\nimgs/0 sample_1.png\n` }
    await assert.rejects(
      read('lra-pathfinder', 'train', short),
      /^Error: data\/metadata\/0.npy:2: got "imgs\/0 sample_1.png", want folder/,
    )
    const small = { 'metadata/0.npy': `${line(0, 0)}\n`, 'imgs/0/sample_0.png': new Uint8Array(9) }
    await assert.rejects(
      read('lra-pathfinder', 'train', small),
      /^Error: data\/imgs\/0\/sample_0.png: got 9 pixels, want 1024/,
    )
    await assert.rejects(collected(datasets['lra-pathfinder'].read(memory(files), 'train')), {
      name: 'TypeError',
      message: /got no decoder of PNG pictures/,
    })
  })
})
