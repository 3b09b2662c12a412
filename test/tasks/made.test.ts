import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import type { CorpusDocument } from '../../src/io/corpus.ts'
import { drawnGratings } from '../../src/tasks/gratings.ts'
import { proseKinds, prosePairs } from '../../src/tasks/prose.ts'

const document = (name: string, category: string, words: number): CorpusDocument => ({
  name,
  category,
  text: Array.from({ length: words }, (_, i) => `${name}${i}`).join(' '),
})
const part = [document('a', 'news', 11), document('b', 'romance', 3), document('c', 'lore', 8)]
const documents = { train: part, validation: part.slice(0, 1), test: part.slice(1, 2) }

describe('prose', () => {
  it('is cut into pieces of so many words, labelled by whether it is fiction', () => {
    const { train, validation, test } = proseKinds(documents, 4)
    assert.deepEqual(train, [
      { input: 'a0 a1 a2 a3', label: 0 },
      { input: 'a4 a5 a6 a7', label: 0 },
      { input: 'b0 b1 b2', label: 1 },
      { input: 'c0 c1 c2 c3', label: 0 },
      { input: 'c4 c5 c6 c7', label: 0 },
    ])
    assert.deepEqual([validation.length, test.length], [2, 1])
  })

  it('makes pairs of one document and of two, with the answer to what is asked', () => {
    const kind = (text: string) => (text.startsWith('b') ? 'fiction' : 'other')
    const wanted = {
      document: (a: string, b: string) => (a[0] === b[0] ? 1 : 0),
      relation: (a: string, b: string) => (a[0] === b[0] ? 0 : kind(a) === kind(b) ? 1 : 2),
      overlap: () => 0,
    }
    for (const question of ['document', 'relation', 'overlap'] as const) {
      const { train } = prosePairs(documents, question, 4)
      assert.ok(train.length > 5)
      for (const { input, pair, label } of train) {
        assert.notEqual(input, pair)
        assert.equal(label, wanted[question](input, pair!), `${question}: ${input}, ${pair}`)
      }
    }
  })

  it('counts words that two pieces share', () => {
    const same = { name: 'd', category: 'news', text: 'one two three four One two five six' }
    const { train } = prosePairs({ train: [same], validation: [], test: [] }, 'overlap', 4)
    assert.deepEqual(
      train.map(({ label }) => label),
      [2.5, 2.5],
    )
  })
})

describe('drawn pictures', () => {
  const options = { classes: 3, side: 8, train: 7, held: 4 }

  it('are the same for the same seed, others for each part, and of every class in turn', () => {
    const found = drawnGratings(options, random(1))
    assert.deepEqual(found, drawnGratings(options, random(1)))
    assert.notDeepEqual(found.train[0], found.test[0])
    assert.deepEqual(
      found.train.map(({ label }) => label),
      [0, 1, 2, 0, 1, 2, 0],
    )
    assert.ok(found.train.every(({ input }) => input.length === 64))
    assert.equal(drawnGratings({ ...options, channels: 3 }, random(1)).test[0]!.input.length, 192)
  })

  it('have stripes along the direction of their class', () => {
    // Class 0 of 2 changes from left to right only, class 1 from top to bottom only.
    const { train } = drawnGratings({ ...options, classes: 2, train: 6 }, random(2))
    for (const { input, label } of train) {
      const change = (step: number) =>
        input.reduce((sum, value, at) => {
          const inside = step === 1 ? at % 8 < 7 : at < 56
          return inside ? sum + Math.abs(value - input[at + step]!) : sum
        }, 0)
      assert.equal(change(1) > change(8), label === 0)
    }
  })

  it('of no size are refused', () => {
    assert.throws(() => drawnGratings({ ...options, side: 0 }, random(1)), /drawnGratings: got side 0, want/)
  })
})
