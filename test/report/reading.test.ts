import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { readReport } from '../../src/report/reading.ts'
import { demoReport } from './demo.ts'
import { demoInspection } from './inspectDemo.ts'
import { checkWellFormed } from './wellFormed.ts'

const stored = (name: string) => readFile(new URL(`../../docs/results/${name}.json`, import.meta.url), 'utf8')

describe('a report that is read', () => {
  it('is of the kind of its file, and drawn as its page draws it', async () => {
    const found = [
      readReport('report.json', JSON.stringify(demoReport())),
      readReport('inspect.json', JSON.stringify(demoInspection())),
      readReport('result.json', await stored('associative-recall')),
    ]
    assert.deepEqual(
      found.map(({ kind }) => kind),
      ['conversion', 'inspection', 'experiment'],
    )
    for (const { sections } of found) {
      assert.ok(sections.length >= 3)
      for (const markup of sections) checkWellFormed(`<div>${markup}</div>`)
    }
    assert.equal(found[0]!.sections.length, 7)
  })

  it('may lack what is only drawn', async () => {
    for (const name of ['tiny', 'properties', 'spam'])
      assert.ok(readReport(name, await stored(name)).sections.length > 2)
  })

  it('is refused in one line when it is foreign', async () => {
    const bench = await stored('adamw')
    for (const json of ['', '{"a": ', '[]', 'null', '3', '{}', '"data"', bench]) {
      assert.throws(() => readReport('x.json', json), /^Error: x\.json: is no[^\n]*$/)
    }
  })

  it('is drawn where it has no rows of one of its texts', () => {
    const report = demoInspection()
    const texts = report.texts.map((one, i) => (i === 1 ? { ...one, name: 'text' } : one))
    for (const markup of readReport('x.json', JSON.stringify({ ...report, texts })).sections)
      checkWellFormed(`<div>${markup}</div>`)
  })

  it('is refused with the place that does not fit, or can be drawn', () => {
    const whole = [demoReport(), demoInspection()]
    const values = fc.oneof(fc.constantFrom(null, true, 'text', -1, 1e12, [], {}), fc.constant(undefined))
    fc.assert(
      fc.property(
        fc.constantFrom(...whole),
        fc.array(fc.nat(200), { minLength: 1, maxLength: 6 }),
        values,
        (one, path, value) => {
          const damaged = JSON.parse(JSON.stringify(one)) as Record<string, unknown>
          replaceAt(damaged, path, value)
          try {
            for (const markup of readReport('x.json', JSON.stringify(damaged)).sections)
              checkWellFormed(`<div>${markup}</div>`)
          } catch (error) {
            assert.match(String(error), /^Error: x\.json: (\S+: got .*, want .*|is no report[^\n]*)$/)
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})

/** Puts a value in the place that a path of choices leads to. */
function replaceAt(record: Record<string, unknown>, path: readonly number[], value: unknown): void {
  const names = Object.keys(record)
  const name = names[path[0]! % names.length]
  if (name === undefined) return
  const inner = record[name]
  const goesOn = path.length > 1 && typeof inner === 'object' && inner !== null && Object.keys(inner).length > 0
  if (goesOn) replaceAt(inner as Record<string, unknown>, path.slice(1), value)
  else record[name] = value
}
