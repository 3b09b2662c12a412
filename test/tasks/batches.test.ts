import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  type ExampleBatch,
  exampleBatches,
  heldOutExamples,
  type PackedExample,
  packExamples,
  paddedLengths,
} from '../../src/tasks/batches.ts'
import { packing } from '../../src/tasks/pack.ts'

/** Examples of given lengths; the first id and the label are the example's number, ids are from 1. */
const ofLengths = (lengths: readonly number[]): PackedExample[] =>
  lengths.map((length, i) => ({
    ids: Int32Array.from({ length }, (_, place) => (place === 0 ? i + 1 : 7)),
    types: Uint8Array.from({ length }, (_, place) => (place < 2 ? 0 : 1)),
    label: i,
  }))

/** The examples of a batch as they were packed, read back through the mask. */
function unpadded({ ids, keyMask, types, labels }: ExampleBatch): PackedExample[] {
  const [b, l] = ids.shape as [number, number]
  return Array.from({ length: b }, (_, row) => {
    const mask = [...keyMask.data.subarray(row * l, (row + 1) * l)]
    const length = mask.lastIndexOf(1) + 1
    assert.ok(mask.every((real, place) => real === (place < length ? 1 : 0)))
    const at = (data: ArrayLike<number>) => Array.from({ length }, (_, place) => data[row * l + place]!)
    return { ids: Int32Array.from(at(ids.data)), types: Uint8Array.from(at(types!.data)), label: labels.data[row]! }
  })
}

const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 6, maxLength: 40 })
const options = fc.record({ batch: fc.integer({ min: 1, max: 6 }), seed: fc.nat(99) })

describe('shuffled batches', () => {
  test('give each example as it is, once an epoch, and leave out less than a batch', () => {
    fc.assert(
      fc.property(lengths, options, (all, { batch, seed }) => {
        const examples = ofLengths(all)
        const stream = exampleBatches(examples, { batch, seed })
        for (let epoch = 0; epoch < 2; epoch++) {
          const found: PackedExample[] = []
          for (let i = 0; i < Math.floor(all.length / batch); i++) {
            const next = stream.next()
            assert.equal(next.ids.shape[0], batch)
            found.push(...unpadded(next))
          }
          assert.equal(new Set(found.map(({ label }) => label)).size, found.length)
          assert.ok(found.length > all.length - batch)
          for (const example of found) assert.deepEqual(example, examples[example.label])
        }
      }),
    )
  })

  test('are padded to the shortest of the lengths that holds their longest example', () => {
    fc.assert(
      fc.property(lengths, options, (all, { batch, seed }) => {
        const stream = exampleBatches(ofLengths(all), { batch, seed, lengths: [8, 16, 40] })
        for (let i = 0; i < 10; i++) {
          const next = stream.next()
          const longest = Math.max(...unpadded(next).map(({ ids }) => ids.length))
          assert.equal(
            next.ids.shape[1],
            [8, 16, 40].find((length) => length >= longest),
          )
        }
      }),
    )
  })

  test('restored through JSON go on as the uninterrupted ones', () => {
    fc.assert(
      fc.property(lengths, options, fc.nat(20), (all, settings, steps) => {
        const examples = ofLengths(all)
        const straight = exampleBatches(examples, settings)
        for (let i = 0; i < steps; i++) straight.next()
        const resumed = exampleBatches(examples, settings)
        resumed.next()
        resumed.restore(JSON.parse(JSON.stringify(straight.state())))
        for (let i = 0; i < 4; i++) assert.deepEqual(resumed.next(), straight.next())
      }),
    )
  })

  test('come in an order of their seed, another one each epoch, with lengths mixed', () => {
    const examples = ofLengths(Array.from({ length: 60 }, (_, i) => 1 + (i % 30)))
    const epochs = (seed: number) => {
      const stream = exampleBatches(examples, { batch: 3, seed })
      return Array.from({ length: 40 }, () => stream.next())
    }
    const labels = (batches: ExampleBatch[]) => batches.map(({ labels }) => labels.data.join())
    assert.deepEqual(epochs(1), epochs(1))
    assert.notDeepEqual(labels(epochs(1)), labels(epochs(2)))
    assert.notDeepEqual(labels(epochs(1).slice(0, 20)), labels(epochs(1).slice(20)))
    const found = epochs(1)
      .slice(0, 20)
      .map(({ ids }) => ids.shape[1]!)
    assert.notDeepEqual(
      found,
      found.toSorted((a, b) => a - b),
    )
  })

  test('refuse a state that is none or of other data, and data that does not fit', () => {
    const stream = exampleBatches(ofLengths([3, 4, 5]), { batch: 2, seed: 0 })
    for (const bad of [undefined, null, {}, 1, { ...stream.state(), epoch: -1 }]) {
      assert.throws(() => stream.restore(bad), /want one that state\(\) gave/)
    }
    const other = exampleBatches(ofLengths([3, 4]), { batch: 2, seed: 0 }).state()
    assert.throws(() => stream.restore(other), /over 2 examples at batch 0, want 3 examples/)
    assert.throws(() => stream.restore({ ...stream.state(), position: 2 }), /at batch 2, want 3 examples and at most 1/)
    assert.throws(() => exampleBatches(ofLengths([3]), { batch: 2, seed: 0 }), {
      name: 'RangeError',
      message: /got 1 examples, want at least 2 for one batch/,
    })
    const few = { batch: 1, seed: 0, lengths: [4, 8] }
    assert.throws(() => exampleBatches(ofLengths([3, 9]), few), /got 9 tokens in example 1, want at most 8/)
    assert.throws(() => exampleBatches(ofLengths([3, 0]), few), /got no tokens in example 1/)
    assert.throws(() => exampleBatches(ofLengths([3]), { ...few, lengths: [8, 4] }), /got lengths 8, 4/)
    assert.throws(() => exampleBatches(ofLengths([3]), { ...few, batch: 0 }), /got batch 0/)
  })
})

describe('held-out batches', () => {
  test('give all examples in order, and the same each time', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 6 }), (all, batch) => {
        const examples = ofLengths(all)
        const batches = heldOutExamples(examples, { batch })
        assert.deepEqual([...batches].flatMap(unpadded), examples)
        assert.deepEqual([...batches], [...batches])
        for (const { ids } of [...batches].slice(0, -1)) assert.equal(ids.shape[0], batch)
      }),
    )
  })

  test('have labels of classes or of values, padding of a chosen id, and types only where the packing has them', () => {
    const example = { ids: Uint8Array.from([5, 6]), label: 2.5 }
    const [values] = heldOutExamples([example], { batch: 2, labels: 'values', lengths: [3], padding: 9 })
    assert.deepEqual([values!.labels.dtype, [...values!.labels.data]], ['float32', [2.5]])
    assert.deepEqual([...values!.ids.data], [5, 6, 9])
    assert.ok(!('types' in values!))
    const [classes] = heldOutExamples([{ ...example, label: -1 }], { batch: 2 })
    assert.deepEqual([classes!.labels.dtype, [...classes!.labels.data]], ['int32', [-1]])
    assert.throws(() => heldOutExamples([], { batch: 2 }), /got no examples/)
  })
})

describe('padded lengths', () => {
  const padding = (all: readonly number[], chosen: readonly number[]) =>
    all.reduce((sum, length) => sum + chosen.find((most) => most >= length)!, 0)

  test('hold everything with the least padding of all choices', () => {
    const few = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(few, fc.integer({ min: 1, max: 3 }), (all, most) => {
        const chosen = paddedLengths(ofLengths(all), { most, multiple: 1 })
        assert.ok(chosen.length <= most)
        const longest = Math.max(...all)
        for (let subset = 0; subset < 1 << longest; subset++) {
          const other = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter(
            (length) => length === longest || subset & (1 << (length - 1)),
          )
          const within = other.filter((length) => length <= longest)
          if (within.length <= most) assert.ok(padding(all, chosen) <= padding(all, within))
        }
      }),
      { numRuns: 40 },
    )
  })

  test('are multiples, by default four of eight', () => {
    const chosen = paddedLengths(ofLengths(Array.from({ length: 100 }, (_, i) => i + 1)))
    assert.equal(chosen.length, 4)
    assert.ok(chosen.every((length) => length % 8 === 0))
    assert.equal(chosen.at(-1), 104)
  })
})

describe('packing', () => {
  const bert = { before: [101], between: [102], after: [102], types: true }
  const count = (length: number, from: number) => Array.from({ length }, (_, i) => from + i)

  test('joins one or two sequences with special tokens and types', () => {
    const pack = packing({ ...bert, maxLength: 9 })
    assert.deepEqual(pack([1, 2]), { ids: [101, 1, 2, 102], types: [0, 0, 0, 0] })
    assert.deepEqual(pack([1, 2], [3]), { ids: [101, 1, 2, 102, 3, 102], types: [0, 0, 0, 0, 1, 1] })
    assert.deepEqual(packing({ maxLength: 3 })([1, 2]), { ids: [1, 2] })
    const roberta = packing({ before: [0], between: [2, 2], after: [2], maxLength: 9 })
    assert.deepEqual(roberta([7], [8]).ids, [0, 7, 2, 2, 8, 2])
  })

  test('shortens the longer of two first, as token by token removal does', () => {
    fc.assert(
      fc.property(fc.nat(12), fc.nat(12), fc.integer({ min: 4, max: 16 }), (a, b, maxLength) => {
        const { ids, types } = packing({ ...bert, maxLength })(count(a, 1000), count(b, 2000))
        let [first, second] = [a, b]
        while (first + second > maxLength - 3) {
          // The last of a pair of equal ones goes from the one that was shorter, so that the odd token stays with the other.
          if (first > second || (first === second && a <= b)) first--
          else second--
        }
        assert.deepEqual(Array.from(ids), [101, ...count(first, 1000), 102, ...count(second, 2000), 102])
        assert.equal(types!.length, ids.length)
      }),
    )
  })

  test('of a single sequence cuts its end, and needs room beside the special tokens', () => {
    assert.deepEqual(packing({ ...bert, maxLength: 4 })([1, 2, 3]).ids, [101, 1, 2, 102])
    assert.throws(() => packing({ ...bert, maxLength: 3 }), {
      name: 'RangeError',
      message: /got maxLength 3, want more than 3/,
    })
  })

  test('turns examples into the smallest arrays that hold them', async () => {
    const pack = packing({ maxLength: 5, after: [2] })
    const of = async (id: number) => (await packExamples([{ input: 'a', label: 1 }], () => [id], pack))[0]!
    assert.deepEqual(await of(255), { ids: Uint8Array.from([255, 2]), label: 1 })
    assert.deepEqual(await of(256), { ids: Uint16Array.from([256, 2]), label: 1 })
    assert.deepEqual(await of(65536), { ids: Int32Array.from([65536, 2]), label: 1 })
    const paired = await packExamples(
      [{ input: 'a', pair: 'bc', label: 0 }],
      (text) => [text.length],
      packing({ ...bert, maxLength: 9 }),
    )
    assert.deepEqual(paired, [
      { ids: Uint8Array.from([101, 1, 102, 2, 102]), types: Uint8Array.from([0, 0, 0, 1, 1]), label: 0 },
    ])
  })
})
