import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decimals, gap, gapClosed, headline, percent } from '../../src/report/summary.ts'
import { ticksOf } from '../../src/report/svg.ts'
import { reportText } from '../../src/report/terminal.ts'
import type { Row } from '../../src/report/types.ts'
import { demoReport } from './demo.ts'

function rows(perplexities: Readonly<Record<string, number>>): { rows: Row[] } {
  return {
    rows: Object.entries(perplexities).map(([name, perplexity]) => ({
      name,
      perplexity,
      loss: Math.log(perplexity),
      seconds: 1,
    })),
  }
}

test('the gap is measured from the finetuned teacher, and what was closed of it from the untrained student', () => {
  const report = rows({ teacher: 30, 'teacher-finetuned': 20, untrained: 120, elu: 40, hedgehog: 25 })
  assert.equal(gap(report), 0.25)
  assert.equal(gapClosed(report), 0.95)
  assert.equal(gapClosed(report, 'elu'), 0.75)
  assert.equal(
    headline(report),
    'Hedgehog reaches a perplexity of 25.00, the finetuned teacher 20.00: a gap of 25.0 %. Training closes 95.0 % of the gap that the untrained maps leave (120.00).',
  )
})

test('a student better than its teacher is said to be lower, and missing rows leave their sentence out', () => {
  assert.equal(
    headline(rows({ teacher: 20, hedgehog: 18 })),
    'Hedgehog reaches a perplexity of 18.00, the teacher 20.00: 10.0 % lower.',
  )
  assert.match(headline(rows({ elu: 3 })), /no row for hedgehog/)
  assert.equal(gap(rows({ teacher: Number.POSITIVE_INFINITY, hedgehog: 3 })), undefined)
  assert.equal(gapClosed(rows({ teacher: 20, untrained: 19, hedgehog: 30 })), undefined)
})

test('numbers that are none are shown as a dash, large ones shortly', () => {
  assert.deepEqual(
    [undefined, null, Number.NaN].map((value) => decimals(value, 2)),
    ['–', '–', '–'],
  )
  assert.deepEqual(
    [-1.256, 2143.7, 3e9, Number.POSITIVE_INFINITY].map((value) => decimals(value, 2)),
    ['−1.26', '2144', '3.0e+9', '∞'],
  )
  assert.deepEqual([percent(undefined), percent(0.1234)], ['–', '12.3 %'])
})

test('the terminal table holds every row and keeps to its width', () => {
  const report = demoReport()
  const long = { ...report.rows[0]!, name: 'a-name-that-is-longer-than-any-terminal-is-wide', note: 'word '.repeat(40) }
  const whole = reportText(report)
  for (const { name, perplexity } of report.rows)
    assert.match(whole, new RegExp(`^${name} .*${decimals(perplexity, 2)}`, 'm'))
  for (const width of [40, 80, 120]) {
    for (const line of reportText({ ...report, rows: [...report.rows, long] }, width).split('\n'))
      assert.ok(line.length <= width, line)
  }
})

test('report.json has what machines read and survives being read back', () => {
  const report = demoReport()
  const back = JSON.parse(JSON.stringify(report))
  assert.deepEqual(back, report)
  for (const key of ['seconds', 'peakMemoryBytes', 'seed', 'versions', 'rows']) assert.ok(key in back, key)
})

test('an axis has a few round ticks in its range and places its values inside', () => {
  const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 9 })
  fc.assert(
    fc.property(values, fc.constantFrom('ticks', 'data'), (some, ends) => {
      const rounded = some.map((value) => Math.round(value * 1000) / 1000)
      const { ticks, share } = ticksOf(rounded, ends)
      assert.ok(ticks.length >= 1 && ticks.length <= 7, `${ticks}`)
      for (const value of [...rounded, ...ticks]) assert.ok(share(value) >= -1e-6 && share(value) <= 1 + 1e-6)
    }),
  )
})
