import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { bitsPerByte, lossByPosition, perplexityOf, type TokenLosses } from '../../src/metrics/language.ts'
import { type MetricInputs, metricNamed, metrics } from '../../src/metrics/metrics.ts'

const near = (got: number, want: number) =>
  assert.ok(Math.abs(got - want) < 1e-9 * Math.max(1, want), `${got}, ${want}`)

const tokens = fc
  .array(fc.tuple(fc.double({ min: 0, max: 9, noNaN: true }), fc.nat(300)), { minLength: 1, maxLength: 60 })
  .map(
    (pairs): TokenLosses => ({
      losses: pairs.map(([loss]) => loss),
      positions: pairs.map(([, position]) => position),
      bytes: pairs.length * 4,
    }),
  )

describe('metrics of language models', () => {
  it('of tokens that are all equally likely: perplexity is their number, and bits count them', () => {
    const losses = new Float64Array(7).fill(Math.log(16))
    near(perplexityOf({ losses }), 16)
    near(bitsPerByte({ losses, bytes: 14 }), 2)
  })

  it('by position cover every token once, and their weighted mean is the whole loss', () => {
    fc.assert(
      fc.property(tokens, fc.uniqueArray(fc.integer({ min: 1, max: 310 }), { maxLength: 6 }), (given, more) => {
        for (const edges of [undefined, [0, ...more.sort((a, b) => a - b)]]) {
          const rows = lossByPosition(given, edges)
          assert.equal(
            rows.reduce((sum, row) => sum + row.tokens, 0),
            given.losses.length,
          )
          const mean = rows.reduce((sum, row) => sum + row.loss * row.tokens, 0) / given.losses.length
          near(Math.exp(mean), perplexityOf(given))
          for (const { from, to, tokens: count, loss, perplexity } of rows) {
            const own = Array.from(given.losses).filter(
              (_, i) => given.positions[i]! >= from && given.positions[i]! <= to,
            )
            assert.equal(own.length, count)
            near(loss, own.reduce((sum, x) => sum + x, 0) / count)
            near(perplexity, Math.exp(loss))
          }
        }
      }),
    )
  })

  it('by position have buckets that double, and say the later half', () => {
    const positions = Array.from({ length: 12 }, (_, i) => i)
    const losses = positions.map((at) => (at < 6 ? 2 : 1))
    const { value, parts } = metrics['perplexity-by-position'].measure({ losses, positions, bytes: 1 })
    assert.deepEqual(Object.keys(parts!), ['0', '1', '2–3', '4–7', '8–11'])
    near(value, Math.E)
    near(parts!['4–7']!, Math.exp(1.5))
    near(metrics['perplexity-by-position'].measure({ losses: [1], positions: [0], bytes: 1 }).value, Math.E)
  })

  it('do not depend on the order of tokens', () => {
    fc.assert(
      fc.property(tokens, (given) => {
        const turned: TokenLosses = {
          losses: Array.from(given.losses).reverse(),
          positions: Array.from(given.positions).reverse(),
          bytes: given.bytes,
        }
        for (const metric of [metrics.perplexity, metrics['bits-per-byte'], metrics['perplexity-by-position']]) {
          near(metric.measure(turned).value, metric.measure(given).value)
        }
      }),
    )
  })

  it('refuse no tokens, no bytes, bad losses, positions and edges', () => {
    const one = { losses: [1], positions: [0], bytes: 1 }
    assert.throws(() => perplexityOf({ losses: [] }), { name: 'RangeError', message: /no tokens to measure on/ })
    assert.throws(() => perplexityOf({ losses: [1, Number.NaN] }), /losses: value 1: got NaN/)
    for (const bytes of [0, -1, 0.5]) assert.throws(() => bitsPerByte({ ...one, bytes }), /bytes of text, want/)
    assert.throws(() => lossByPosition({ ...one, positions: [] }), /got 1 values beside 0/)
    assert.throws(() => lossByPosition({ ...one, positions: [-1] }), /positions: value 0: got -1/)
    for (const edges of [[], [1], [0, 2, 2], [0, 1.5]]) assert.throws(() => lossByPosition(one, edges), /got edges/)
  })
})

describe('the table of metrics', () => {
  const examples: MetricInputs = {
    classes: { predictions: [0, 1, 2, 1, 1], labels: [0, 1, 1, 1, 0] },
    scores: { scores: [0.5, 2, -1], targets: [1, 1.5, 3] },
    texts: { texts: ['the old house', 'a b'], references: ['the house\nis old', 'c'] },
    tokens: { losses: [0.5, 3, 2], positions: [0, 1, 2], bytes: 11 },
  }

  for (const [name, metric] of Object.entries(metrics)) {
    it(`${name} says what it is, and gives a value within its range`, () => {
      assert.match(name, /^[a-z0-9-]+$/)
      assert.ok(metric.summary.length > 5 && !metric.summary.endsWith('.') && metric.source !== '')
      const { value } = metric.measure(examples[metric.needs] as never)
      assert.ok(value >= metric.range[0] && value <= metric.range[1], `${value}`)
      assert.equal(metric.better, metric.needs === 'tokens' ? 'lower' : 'higher')
      assert.equal(metricNamed(name), metric)
    })
  }

  it('has ROUGE as means over texts, with stems where they are asked for', () => {
    const { value, parts } = metrics['rouge-1'].measure(examples.texts)
    near(value, (2 * 1 * 0.75) / 1.75 / 2)
    assert.deepEqual(parts, { precision: 0.5, recall: 0.375 })
    const houses = { texts: ['houses'], references: ['house'] }
    assert.equal(metrics['rouge-l'].measure(houses).value, 0)
    assert.equal(metrics['rouge-l'].measure({ ...houses, stem: true }).value, 1)
    assert.throws(() => metrics['rouge-l'].measure({ texts: [], references: [] }), /rouge: got nothing to measure/)
    assert.throws(() => metrics['rouge-l'].measure({ texts: ['a'], references: [] }), /rouge: got 1 values beside 0/)
  })

  it('knows no other names, and says which it knows', () => {
    for (const name of ['bleu', '', 'constructor', 'toString', '__proto__']) {
      assert.throws(() => metricNamed(name, '--metric'), {
        name: 'RangeError',
        message: `--metric: got metric ${name}, want one of ${Object.keys(metrics).join(', ')}`,
      })
    }
  })
})
