import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { inspectHtml } from '../../src/report/inspect/html.ts'
import { inspectHeadline, rankedMaps } from '../../src/report/inspect/ranking.ts'
import { inspectText } from '../../src/report/inspect/text.ts'
import type { InspectReport } from '../../src/report/inspect/types.ts'
import { heatThumb } from '../../src/report/thumbs.ts'
import { demoInspection } from './inspectDemo.ts'
import { checkWellFormed } from './wellFormed.ts'

const whole = demoInspection()
const bare: InspectReport = {
  ...demoInspection(['one.txt']),
  properties: whole.properties.slice(1),
  lengths: whole.lengths.slice(1, 2),
  rows: [],
  heads: [],
  shown: [],
  curves: [],
}
const broken: InspectReport = {
  ...whole,
  rows: whole.rows.map((row) => ({ ...row, values: { kl: Number.NaN, entropy: Number.POSITIVE_INFINITY } })),
}

describe('the page of an inspection', () => {
  for (const [what, report] of Object.entries({ whole, bare, broken })) {
    it(`that is ${what} is well-formed, asks nobody for anything, and shows no value that is none`, () => {
      const page = inspectHtml(report)
      checkWellFormed(page)
      assert.doesNotMatch(page, /NaN|undefined|null|Infinity|\[object|https?:|src=|href=|url\(|<script/)
    })
  }

  it('shows softmax and every map in each head, the nearest map standing out', () => {
    const page = inspectHtml(whole)
    for (const { name } of whole.maps) assert.ok(page.includes(`Attention weights of ${name} in layer 1, head 0`), name)
    const chosen = [...page.matchAll(/<figure class="chosen"><figcaption>([^<]+)</g)].map((match) => match[1])
    assert.deepEqual([...new Set(chosen)], ['hedgehog-exp'])
  })

  it('has a name for every picture, and no text of it can become markup', () => {
    const text = fc.string({ unit: fc.constantFrom('<', '>', '&', '"', "'", '/', 'b', ' ', '\n', '\0', '=') })
    fc.assert(
      fc.property(text, (evil) => {
        const page = inspectHtml({ ...demoInspection([evil || 'x']), name: evil, command: evil })
        checkWellFormed(page)
        const count = (pattern: RegExp) => page.match(pattern)?.length ?? 0
        assert.equal(count(/<svg /g), count(/<svg [^>]*role="img" aria-label="[^"]+"/g))
      }),
      { numRuns: 20 },
    )
  })
})

describe('an inspection in the terminal', () => {
  it('keeps to its width, and says how many columns did not fit', () => {
    const longest = 'a-text-with-a-name-that-is-longer-than-any-terminal-is-wide-and-then-some-more-words-to-it.txt'
    for (const report of [whole, demoInspection([longest, 'b.txt', 'c.txt', 'd.txt', 'e.txt'])]) {
      for (const width of [60, 80, 120]) {
        for (const line of inspectText(report, width).split('\n')) assert.ok(line.length <= width, line)
      }
    }
    assert.match(inspectText(demoInspection(['a', 'b', 'c', 'd', 'e', 'f']), 60), /\(\d more columns/)
    assert.doesNotMatch(inspectText(whole, 80), /more columns/)
  })

  it('has a row for each map under each table, and says what was stretched', () => {
    const text = inspectText(whole, 80)
    for (const { name } of whole.maps) assert.equal(text.match(new RegExp(`^${name} +[\\dd–]`, 'gm'))?.length, 3, name)
    assert.match(text, /1024\*/)
    assert.match(text, /stretched\s+by\s+linear\s+interpolation/)
    assert.match(text, /elu: as it is/)
  })
})

it('maps are ranked by their KL on the first text, softmax before all', () => {
  assert.deepEqual(
    rankedMaps(whole).map(({ name }) => name),
    ['softmax', 'hedgehog-exp', 't2r-hh', 'performer', 'elu', 'relu'],
  )
})

it('the headline counts maps with at most 2d features only, and names another winner where a text has one', () => {
  assert.match(inspectHeadline(whole), /Of the 4 maps with at most 2d features, hedgehog-exp has the lowest KL/)
  const rows = whole.rows.map((row) =>
    row.map === 'performer' || (row.map === 'elu' && row.text === 'speech.txt')
      ? { ...row, values: { ...row.values, kl: 0.001 } }
      : row,
  )
  const headline = inspectHeadline({ ...whole, rows })
  assert.match(headline, /hedgehog-exp has the lowest KL .* on test\.txt 0\.111, before t2r-hh 0\.444/)
  assert.match(headline, /on speech\.txt elu 0\.001, before hedgehog-exp/)
})

it('a small heat map draws each cell once, in its shade', () => {
  const values = [[1], [0.25, 0.25], [0, 0, 1]]
  const picture = heatThumb({ label: 'x', values, max: 1 })
  const paths = [...picture.matchAll(/fill-opacity="([^"]+)" d="([^"]+)"/g)].map((match) => [match[1], match[2]])
  assert.deepEqual(paths, [
    ['0.5', 'M0 1h2v1h-2z'],
    ['1', 'M0 0h1v1h-1zM2 2h1v1h-1z'],
  ])
})
