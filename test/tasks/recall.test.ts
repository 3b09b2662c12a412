import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { random } from '../../src/base/random.ts'
import type { TokenBatch } from '../../src/io/batches.ts'
import { draws, heldOutDraws } from '../../src/tasks/draws.ts'
import { associativeRecall, multiQueryRecall, recallVocabulary } from '../../src/tasks/recall.ts'

const rows = ({ ids, labels }: TokenBatch) => {
  const [b, l] = ids.shape as [number, number]
  return Array.from({ length: b }, (_, row) => ({
    ids: [...ids.data.subarray(row * l, (row + 1) * l)],
    labels: [...labels.data.subarray(row * l, (row + 1) * l)],
  }))
}
const seed = fc.nat(999)
describe('associative recall', () => {
  const sizes = fc.record({
    batch: fc.integer({ min: 1, max: 5 }),
    length: fc.integer({ min: 2, max: 30 }).map((half) => 2 * half),
    vocab: fc.integer({ min: 3, max: 41 }),
  })

  test('asks for a key that came, and the answer is the value after it, wherever it came', () => {
    fc.assert(
      fc.property(sizes, seed, (options, at) => {
        const { keys, mark } = recallVocabulary(options.vocab)
        for (const { ids, labels } of rows(associativeRecall(options, random(at)))) {
          const query = ids.at(-1)!
          const pairs = ids.slice(0, -2)
          const values = pairs.filter((_, i) => i % 2 === 1 && pairs[i - 1] === query)
          assert.ok(values.length > 0)
          assert.deepEqual([...new Set(values)], [labels.at(-1)])
          assert.equal(ids.at(-2), mark)
          assert.ok(labels.slice(0, -1).every((label) => label === -1))
          for (const [i, id] of pairs.entries()) assert.ok(i % 2 === 0 ? id < keys : id >= keys && id < 2 * keys)
        }
      }),
    )
  })

  test('with loss values asks for every key that came before, and for nothing else', () => {
    fc.assert(
      fc.property(sizes, seed, (options, at) => {
        const answers = rows(associativeRecall({ ...options }, random(at)))
        const found = rows(associativeRecall({ ...options, loss: 'values' }, random(at)))
        for (const [i, { ids, labels }] of found.entries()) {
          assert.deepEqual(ids, answers[i]!.ids)
          const end = ids.length - 2
          for (let key = 0; key < end; key += 2) {
            const came = ids.slice(0, key).some((id, before) => before % 2 === 0 && id === ids[key])
            assert.deepEqual(labels.slice(key, key + 2), [came ? ids[key + 1] : -1, -1])
          }
          assert.deepEqual(labels.slice(end), answers[i]!.labels.slice(end))
        }
      }),
    )
  })

  test('with loss next differs in nothing but that labels are the next ids', () => {
    fc.assert(
      fc.property(sizes, seed, (options, at) => {
        const answers = rows(associativeRecall(options, random(at)))
        const next = rows(associativeRecall({ ...options, loss: 'next' }, random(at)))
        for (const [i, { ids, labels }] of next.entries()) {
          assert.deepEqual(ids, answers[i]!.ids)
          assert.deepEqual(labels, [...ids.slice(1), answers[i]!.labels.at(-1)])
        }
      }),
    )
  })

  test('draws keys, values and queries evenly', () => {
    const found = rows(associativeRecall({ batch: 4000, length: 8, vocab: 11 }, random(1)))
    const counts = (ids: number[]) => ids.reduce((all, id) => all.with(id, all[id]! + 1), new Array(11).fill(0))
    const queries = counts(found.map(({ ids }) => ids.at(-1)!))
    const answers = counts(found.map(({ labels }) => labels.at(-1)!))
    for (const count of queries.slice(0, 5)) assert.ok(Math.abs(count - 800) < 120, `${queries}`)
    for (const count of answers.slice(5, 10)) assert.ok(Math.abs(count - 800) < 120, `${answers}`)
  })

  test('refuses sizes it cannot have', () => {
    const draw = (options: object) => () => associativeRecall({ batch: 2, ...options }, random(0))
    assert.throws(draw({ length: 7 }), { name: 'RangeError', message: /got length 7, want an even number/ })
    assert.throws(draw({ length: 2 }), /got length 2, want a whole number from 4/)
    assert.throws(draw({ vocab: 2 }), /got vocab 2, want a whole number from 3/)
    assert.throws(draw({ batch: 0 }), /got batch 0/)
  })
})

describe('multi-query recall', () => {
  const sizes = fc
    .record({ batch: fc.integer({ min: 1, max: 4 }), pairs: fc.integer({ min: 1, max: 7 }), more: fc.nat(9) })
    .chain(({ batch, pairs, more }) => {
      const length = 4 * pairs + 2 * more
      return fc.record({
        batch: fc.constant(batch),
        pairs: fc.constant(pairs),
        length: fc.constant(length),
        vocab: fc.integer({ min: length + 1, max: 300 }),
        filler: fc.constantFrom('random' as const, 'zero' as const),
      })
    })

  test('asks once for each key, at an even place after the pairs, and the answer is the value paired with it', () => {
    fc.assert(
      fc.property(sizes, seed, (options, at) => {
        const { pairs, length, vocab, filler } = options
        const half = Math.floor(vocab / 2)
        for (const { ids, labels } of rows(multiQueryRecall(options, random(at)))) {
          const paired = new Map(Array.from({ length: pairs }, (_, i) => [ids[2 * i]!, ids[2 * i + 1]!]))
          assert.equal(new Set(paired.values()).size, pairs)
          const asked = labels.flatMap((label, place) => (label >= 0 ? [place] : []))
          assert.deepEqual(new Set(asked.map((place) => ids[place])), new Set(paired.keys()))
          assert.equal(asked.length, pairs)
          for (const place of asked) {
            assert.ok(place >= 2 * pairs && place % 2 === 0)
            assert.equal(labels[place], paired.get(ids[place]!))
          }
          for (const [key, value] of paired) assert.ok(key >= 1 && key < half && value >= half && value < vocab)
          const rest = ids.filter((_, place) => place >= 2 * pairs && labels[place]! < 0)
          assert.equal(rest.length, length - 3 * pairs)
          assert.ok(rest.every((id) => (filler === 'zero' ? id === 0 : id >= 0 && id < vocab)))
        }
      }),
    )
  })

  test('draws gaps by the power law', () => {
    const gapsOf = (power: number) => {
      const counts = new Array<number>(15).fill(0)
      const options = { batch: 20000, length: 32, pairs: 1, vocab: 64, power }
      for (const { labels } of rows(multiQueryRecall(options, random(3)))) {
        const gap = (labels.findIndex((label) => label >= 0) - 2) / 2
        counts[gap] = counts[gap]! + 1
      }
      return counts
    }
    for (const power of [0.01, 0.5, 1]) {
      const law = Array.from({ length: 15 }, (_, i) => (i + 1) ** (power - 1))
      const total = law.reduce((sum, weight) => sum + weight)
      for (const [i, count] of gapsOf(power).entries()) {
        const want = (20000 * law[i]!) / total
        assert.ok(Math.abs(count - want) < 5 * Math.sqrt(want), `power ${power}, gap ${i + 1}: ${count}, want ${want}`)
      }
    }
  })

  test('the k-th of several gaps follows the weights of those that are left', () => {
    // Two gaps of weights 1 and 1/2 of [1, 1/2, 1/3, 1/4]: P(first is gap 1, second is gap 2) = 12/25 · (1/2)/(13/12).
    const batch = 20000
    const found = rows(multiQueryRecall({ batch, length: 12, pairs: 2, vocab: 16, power: 1e-9 }, random(4)))
    const place = (row: (typeof found)[number], pair: number) => row.labels.indexOf(row.ids[2 * pair + 1]!)
    const count = found.filter((row) => place(row, 0) === 4 && place(row, 1) === 6).length
    const want = batch * (12 / 25) * (1 / 2 / (13 / 12))
    assert.ok(Math.abs(count - want) < 5 * Math.sqrt(want), `${count}, want ${want}`)
  })

  test('refuses sizes that do not fit each other', () => {
    const draw = (options: object) => () => multiQueryRecall({ batch: 2, ...options }, random(0))
    assert.throws(draw({ length: 14 }), { name: 'RangeError', message: /got length 14, want at least 16 for 4 pairs/ })
    assert.throws(draw({ length: 17 }), /got length 17, want an even number/)
    assert.throws(draw({ vocab: 64 }), /got vocab 64, want more than the length 64/)
    assert.throws(draw({ power: 0 }), /got power 0/)
    assert.throws(draw({ pairs: 1.5 }), /got pairs 1.5/)
  })
})

describe('a stream of draws', () => {
  const draw = (rng: ReturnType<typeof random>) => associativeRecall({ batch: 2, length: 6, vocab: 9 }, rng)

  test('restored through JSON gives what the uninterrupted one gives', () => {
    fc.assert(
      fc.property(seed, fc.nat(9), (at, steps) => {
        const straight = draws(draw, { seed: at })
        for (let i = 0; i < steps; i++) straight.next()
        const resumed = draws(draw, { seed: at })
        resumed.next()
        resumed.restore(JSON.parse(JSON.stringify(straight.state())))
        for (let i = 0; i < 3; i++) assert.deepEqual(resumed.next(), straight.next())
      }),
    )
  })

  test('differs between batches, seeds, and from its held-out set, which stays the same', () => {
    const large = (rng: ReturnType<typeof random>) => associativeRecall({ batch: 3, length: 64 }, rng)
    const stream = draws(large, { seed: 1 })
    const held = heldOutDraws(large, { seed: 1, batches: 3 })
    const all = [...held, stream.next(), stream.next(), draws(large, { seed: 2 }).next()]
    assert.equal(new Set(all.flatMap(rows).map(({ ids }) => ids.join())).size, 18)
    assert.deepEqual([...held], [...held])
  })

  test('refuses a state that is none', () => {
    const stream = draws(draw, { seed: 0 })
    for (const bad of [undefined, null, {}, 3, { drawn: -1 }, { drawn: '1' }, { drawn: 0.5 }]) {
      assert.throws(() => stream.restore(bad), /want one that state\(\) gave/)
    }
  })
})
