import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { batches, encodeDocuments, heldOut, type TokenBatch } from '../../src/io/batches.ts'
import { trainBpe } from '../../src/io/bpe.ts'
import { tokenizerFrom } from '../../src/io/tokenizer.ts'

const count = (n: number) => Int32Array.from({ length: n }, (_, i) => i)
const rows = ({ ids }: TokenBatch) => {
  const [b, l] = ids.shape as [number, number]
  return Array.from({ length: b }, (_, row) => [...ids.data.subarray(row * l, (row + 1) * l)])
}

const sizes = fc.record({
  length: fc.integer({ min: 1, max: 7 }),
  batch: fc.integer({ min: 1, max: 5 }),
  seed: fc.integer({ min: 0, max: 9 }),
  more: fc.nat(60),
})

test('labels are the ids one place on, in training and held-out batches', () => {
  fc.assert(
    fc.property(sizes, ({ more, ...shape }) => {
      const tokens = count(shape.batch * shape.length + 1 + more)
      const stream = batches(tokens, shape)
      for (const { ids, labels } of [stream.next(), stream.next(), ...heldOut(tokens, shape)]) {
        assert.deepEqual(labels.shape, ids.shape)
        assert.equal(labels.dtype, 'int32')
        for (const [i, id] of ids.data.entries()) assert.equal(labels.data[i], id + 1)
      }
    }),
  )
})

test('an epoch gives every block once, and almost every token', () => {
  fc.assert(
    fc.property(sizes, ({ more, ...shape }) => {
      const tokens = count(shape.batch * shape.length + 1 + more)
      const stream = batches(tokens, { ...shape, batch: 1 })
      const seen: number[] = []
      while (stream.state().epoch === 0) {
        const block = stream.next()
        if (stream.state().epoch === 0) seen.push(...rows(block)[0]!)
      }
      assert.equal(new Set(seen).size, seen.length)
      assert.ok(seen.length > tokens.length - 1 - 2 * shape.length)
    }),
  )
})

test('a restored stream gives what the uninterrupted one gives, through JSON', () => {
  fc.assert(
    fc.property(sizes, fc.nat(20), ({ more, ...shape }, steps) => {
      const tokens = count(shape.batch * shape.length + 1 + more)
      const straight = batches(tokens, shape)
      for (let i = 0; i < steps; i++) straight.next()
      const resumed = batches(tokens, shape)
      resumed.next()
      resumed.restore(JSON.parse(JSON.stringify(straight.state())))
      for (let i = 0; i < 8; i++) assert.deepEqual(resumed.next(), straight.next())
    }),
  )
})

test('the order follows from the seed, and differs between seeds and epochs', () => {
  const epochs = (seed: number) => {
    const stream = batches(count(301), { length: 3, batch: 2, seed })
    return Array.from({ length: 120 }, () => rows(stream.next()).join('|'))
  }
  assert.deepEqual(epochs(1), epochs(1))
  assert.notDeepEqual(epochs(1), epochs(2))
  assert.notDeepEqual(epochs(1).slice(0, 50), epochs(1).slice(50, 100))
})

test('held-out blocks are consecutive, do not overlap, and leave out less than a block', () => {
  fc.assert(
    fc.property(sizes, ({ more, length, batch }) => {
      const tokens = count(length + 1 + more)
      const all = [...heldOut(tokens, { length, batch })]
      const ids = all.flatMap(rows).flat()
      assert.deepEqual(ids, [...count(ids.length)])
      assert.ok(tokens.length - 1 - ids.length < length)
      for (const block of all.slice(0, -1)) assert.equal(block.ids.shape[0], batch)
    }),
  )
})

test('too little text says how many tokens there are and how many are needed', () => {
  const shape = { length: 5, batch: 3, seed: 0 }
  assert.throws(() => batches(count(15), shape), { name: 'RangeError', message: /got 15 tokens, want at least 16/ })
  assert.throws(() => heldOut(count(5), shape), { name: 'RangeError', message: /got 5 tokens, want at least 6/ })
  batches(count(16), shape).next()
  assert.throws(() => batches(count(16), { ...shape, length: 0 }), /got length 0/)
  assert.throws(() => heldOut(count(16), { ...shape, batch: 1.5 }), /got batch 1.5/)
})

test('a state that is none, or one of other data, is refused', () => {
  const stream = batches(count(20), { length: 2, batch: 2, seed: 0 })
  const other = batches(count(21), { length: 2, batch: 2, seed: 0 }).state()
  assert.throws(() => stream.restore(other), /over 21 tokens, want 20/)
  for (const bad of [undefined, null, {}, 7, { ...stream.state(), epoch: -1 }, { ...stream.state(), position: 'x' }]) {
    assert.throws(() => stream.restore(bad), /want one that state\(\) gave/)
  }
  assert.throws(() => stream.restore({ ...stream.state(), position: 99 }), /got position 99/)
})

test('documents are encoded with the end of text between them', () => {
  const tokenizer = tokenizerFrom(trainBpe(['one two'], { vocabSize: 258 }))
  const tokens = encodeDocuments(tokenizer, ['one', 'two', 'one'])
  assert.equal(tokenizer.decode(tokens), 'one<|endoftext|>two<|endoftext|>one')
  assert.equal(tokens.filter((id) => id === tokenizer.endOfText).length, 2)
  assert.equal(encodeDocuments(tokenizer, []).length, 0)
})
