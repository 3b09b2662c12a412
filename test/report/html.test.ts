import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { reportHtml } from '../../src/report/html.ts'
import { decimals } from '../../src/report/summary.ts'
import type { Report } from '../../src/report/types.ts'
import { demoReport } from './demo.ts'
import { checkWellFormed } from './wellFormed.ts'

const empty: Report = { ...demoReport(), rows: [], curves: [], heads: [], maps: [], weightCurves: [], versions: {} }

const broken: Report = {
  ...demoReport(),
  rows: [
    { name: 'teacher', perplexity: Number.NaN, loss: Number.NaN, seconds: Number.NaN },
    { name: 'untrained', perplexity: Number.POSITIVE_INFINITY, loss: 800, kl: Number.NaN, seconds: 0 },
    { name: 'hedgehog', perplexity: 3e9, loss: 22, seconds: 1 },
  ],
  curves: [
    { name: 'hedgehog', phase: 'distill', points: [] },
    { name: 'elu', phase: 'distill', points: [{ step: 1, loss: Number.NaN }] },
    { name: 'hedgehog', phase: 'finetune', points: [{ step: 1, loss: 2, validationLoss: Number.POSITIVE_INFINITY }] },
  ],
  heads: [
    {
      layer: 2,
      head: 1,
      row: 'hedgehog',
      kl: Number.NaN,
      entropyTeacher: 0,
      entropyStudent: Number.NaN,
      monotonicity: 0,
    },
  ],
  maps: [{ layer: 0, head: 0, tokens: ['a', 'b'], teacher: [[1], [Number.NaN, 0]], student: [] }],
  weightCurves: [{ layer: 0, head: 0, series: [{ name: 'teacher', points: [[Number.NaN, 1]] }] }],
}

for (const [what, report] of Object.entries({ whole: demoReport(), empty, broken })) {
  test(`the page of a report that is ${what} is well-formed and shows no value that is none`, () => {
    const page = reportHtml(report)
    checkWellFormed(page)
    assert.doesNotMatch(page, /NaN|undefined|null|Infinity|\[object/)
  })
}

test('the page asks nobody for anything and runs nothing', () => {
  assert.doesNotMatch(reportHtml(demoReport()), /https?:|src=|href=|url\(|@import|<script/)
})

test('every row stands in the table with its numbers, and the model of interest is marked', () => {
  const page = reportHtml(demoReport())
  for (const { name, perplexity, kl, note } of demoReport().rows) {
    const row = page.split('<tr').find((text) => text.includes(`<th scope="row">${name}<`))
    assert.ok(row, name)
    for (const part of [decimals(perplexity, 2), decimals(kl, 3), note ?? '']) assert.ok(row.includes(part), part)
    assert.equal(row.startsWith(' class="chosen"'), name === 'hedgehog')
  }
})

test('every chart has a name for those who do not see it, and every figure a caption', () => {
  const page = reportHtml(demoReport())
  const count = (pattern: RegExp) => page.match(pattern)?.length ?? 0
  assert.ok(count(/<svg /g) >= 13)
  assert.equal(count(/<svg /g), count(/<svg [^>]*role="img" aria-label="[^"]+"/g))
  assert.equal(count(/<svg /g), count(/<figcaption>[^<]+<\/figcaption><svg/g))
  assert.equal(count(/<th /g), count(/<th scope="(col|row)">/g))
})

test('no text of a report can become markup', () => {
  const text = fc.string({ unit: fc.constantFrom('<', '>', '&', '"', "'", '/', 'b', ' ', '\n', '\0', '😀', '=') })
  fc.assert(
    fc.property(text, (evil) => {
      const report = demoReport()
      const tokens = [evil, evil, evil]
      const weights = [[1], [0.5, 0.5], [0.2, 0.3, 0.5]]
      checkWellFormed(
        reportHtml({
          ...report,
          name: evil,
          command: evil,
          versions: { [evil]: evil },
          model: { ...report.model, family: evil },
          rows: [...report.rows.slice(0, 2), { name: evil, perplexity: 1, loss: 0, seconds: 1, note: evil }],
          curves: [{ name: evil, phase: evil, points: [{ step: 1, loss: 1, validationLoss: 2 }] }],
          heads: [{ layer: 0, head: 0, row: evil, kl: 1, entropyTeacher: 1, entropyStudent: 1, monotonicity: 1 }],
          maps: [{ layer: 0, head: 0, tokens, teacher: weights, student: weights }],
          weightCurves: [{ layer: 0, head: 0, series: [{ name: evil, points: [[0, 1]] }] }],
        }),
      )
    }),
    { numRuns: 40 },
  )
})

test('a heat map colours the largest weight most, and leaves the future of a query empty', () => {
  const weights = [
    [1, 0, 0],
    [0.25, 0.75, 0],
    [0.04, 0.32, 0.64],
  ]
  const map = { layer: 0, head: 0, tokens: ['x', ' y', ' z'], teacher: weights, student: weights }
  const page = reportHtml({ ...empty, maps: [map] })
  const shades = [...page.matchAll(/fill-opacity="([^"]+)"/g)].map((match) => Number(match[1]))
  const half = [1, 0.5, 0.87, 0.2, 0.57, 0.8]
  assert.deepEqual(shades, [...half, ...half])
  assert.ok(page.includes('␣z → ␣y: 0.320'))
})
