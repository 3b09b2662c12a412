import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { porterStem } from '../../src/metrics/porter.ts'
import { type Overlap, type RougeOptions, rougeL, rougeLsum, rougeN, rougeWords } from '../../src/metrics/rouge.ts'

type Scores = Readonly<Record<string, readonly [precision: number, recall: number, f: number]>>
interface Golden {
  readonly pairs: readonly (readonly [text: string, reference: string, plain: Scores, stemmed: Scores])[]
  readonly stems: Readonly<Record<string, string>>
}
const golden: Golden = JSON.parse(readFileSync(new URL('../fixtures/rouge.json', import.meta.url), 'utf8'))

const kinds: Readonly<Record<string, (text: string, reference: string, options?: RougeOptions) => Overlap>> = {
  rouge1: (...pair) => rougeN(1, ...pair),
  rouge2: (...pair) => rougeN(2, ...pair),
  rougeL,
  rougeLsum,
}

describe('stems', () => {
  it('are those of NLTK, for every rule and every suffix', () => {
    assert.ok(Object.keys(golden.stems).length > 2500)
    for (const [word, stem] of Object.entries(golden.stems)) assert.equal(porterStem(word), stem, word)
  })

  it('of words of one or two letters are the words', () => {
    fc.assert(fc.property(fc.stringMatching(/^[a-z]{0,2}$/), (word) => assert.equal(porterStem(word), word)))
  })

  it('are found of a long run of one letter without delay', () => {
    for (const letter of 'yes') assert.equal(porterStem(`${letter.repeat(20000)}ingly`).length > 19990, true)
  })
})

describe('ROUGE', () => {
  for (const [kind, score] of Object.entries(kinds)) {
    for (const stem of [false, true]) {
      it(`${kind} ${stem ? 'of stems ' : ''}is that of rouge_score to the last digit`, () => {
        assert.ok(golden.pairs.length >= 300)
        for (const [text, reference, plain, stemmed] of golden.pairs) {
          const { precision, recall, f } = score(text, reference, { stem })
          assert.deepEqual([precision, recall, f], (stem ? stemmed : plain)[kind], JSON.stringify([text, reference]))
        }
      })
    }
  }

  const line = fc
    .array(fc.constantFrom('a', 'b', 'c', 'dogs', 'dog', '-'), { maxLength: 7 })
    .map((all) => all.join(' '))
  const text = fc.array(line, { minLength: 1, maxLength: 4 }).map((lines) => lines.join('\n'))

  it('of a text with itself is 1, unless it has too few words', () => {
    fc.assert(
      fc.property(text, (whole) => {
        const words = rougeWords(whole).length
        for (const [kind, score] of Object.entries(kinds)) {
          const enough = words >= (kind === 'rouge2' ? 2 : 1)
          const { precision, recall, f } = score(whole, whole)
          assert.deepEqual([precision, recall, f], enough ? [1, 1, 1] : [0, 0, 0], kind)
        }
      }),
    )
  })

  it('swaps precision and recall when text and reference change places, and F stays', () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        for (const kind of ['rouge1', 'rouge2', 'rougeL']) {
          const [there, back] = [kinds[kind]!(a, b), kinds[kind]!(b, a)]
          assert.deepEqual([there.precision, there.recall], [back.recall, back.precision])
          assert.ok(Math.abs(there.f - back.f) < 1e-15)
        }
      }),
    )
  })

  it('does not hear case, punctuation or spaces, and lies in [0, 1]', () => {
    fc.assert(
      fc.property(text, text, fc.boolean(), (a, b, stem) => {
        const loud = `  ${a.toUpperCase().replaceAll(' ', ' , ')}!`
        for (const score of Object.values(kinds)) {
          const found = score(a, b, { stem })
          assert.deepEqual(score(loud, b, { stem }), found)
          for (const part of Object.values(found)) assert.ok(part >= 0 && part <= 1)
        }
      }),
    )
  })

  it('of subsequences finds no more than ROUGE-1, and Lsum of one line is L', () => {
    fc.assert(
      fc.property(line, line, (a, b) => {
        assert.ok(rougeL(a, b).recall <= rougeN(1, a, b).recall)
        assert.deepEqual(rougeLsum(a, b), rougeL(a, b))
      }),
    )
  })

  it('refuses runs of no words', () => {
    for (const n of [0, -1, 1.5]) assert.throws(() => rougeN(n, 'a', 'a'), { name: 'RangeError', message: /got n/ })
  })
})
