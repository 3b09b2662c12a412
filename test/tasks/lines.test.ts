import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { collected } from '../../src/tasks/examples.ts'
import { byteLines, type RowFormat, rows, textLines } from '../../src/tasks/lines.ts'
import { memory } from './memory.ts'

const table = (text: string | Uint8Array, format: RowFormat = { delimiter: ',' }) =>
  collected(rows(memory({ 'a.csv': text }), 'a.csv', format))
const fieldsOf = async (text: string, format?: RowFormat) => (await table(text, format)).map(({ fields }) => fields)

describe('lines', () => {
  test('are the same in pieces of any size, and together the file', async () => {
    const content = fc.array(fc.constantFrom('a', 'é', '\n', '中'), { maxLength: 20 }).map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(content, fc.integer({ min: 1, max: 9 }), async (text, piece) => {
        const found = await collected(byteLines(memory({ a: text }), 'a', piece))
        const lines = found.map(({ bytes }) => new TextDecoder().decode(bytes))
        assert.deepEqual(lines, text.endsWith('\n') || text === '' ? text.split('\n').slice(0, -1) : text.split('\n'))
        assert.deepEqual(
          found.map(({ number }) => number),
          lines.map((_, i) => i + 1),
        )
      }),
    )
  })

  test('lose carriage returns and a byte order mark, and keep their numbers over empty ones', async () => {
    const lines = await collected(textLines(memory({ a: '\ufeffone\r\n\r\n\nfour' }), 'a'))
    assert.deepEqual(lines, [
      [1, 'one'],
      [4, 'four'],
    ])
  })

  test('that are not UTF-8 are named', async () => {
    const bytes = Uint8Array.from([97, 10, 0xff, 10])
    await assert.rejects(collected(textLines(memory({ a: bytes }), 'a')), { message: 'data/a:2: is not UTF-8 text' })
  })
})

describe('rows', () => {
  test('with quotes give back any fields that were written by RFC 4180, in pieces of any size', async () => {
    const field = fc.array(fc.constantFrom('a', ',', '"', '\n', ' ', 'é'), { maxLength: 6 }).map((all) => all.join(''))
    const record = fc.array(field, { minLength: 2, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(record),
        fc.constantFrom('\n', '\r\n'),
        fc.integer({ min: 1, max: 9 }),
        async (records, end, piece) => {
          const written = records.map((fields) =>
            fields.map((text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)).join(','),
          )
          const text = written.map((line) => line + end).join('')
          assert.deepEqual(await fieldsOf(text, { delimiter: ',', piece }), records)
        },
      ),
    )
  })

  test('know the line that they begin on', async () => {
    const found = await table('a,b\n\n"c\nd",e\nf,g\n')
    assert.deepEqual(
      found.map(({ line }) => line),
      [1, 3, 5],
    )
  })

  test('without quotes keep them as they are', async () => {
    assert.deepEqual(await fieldsOf('a "b"\t"c\n"\t', { delimiter: '\t', quotes: false }), [
      ['a "b"', '"c'],
      ['"', ''],
    ])
    assert.deepEqual(await fieldsOf('5" disk,"a"\n'), [['5" disk', 'a']])
  })

  test('with quotes that do not match name file and line', async () => {
    await assert.rejects(table('a,b\n"c"d,e\n'), /^Error: data\/a.csv:2: got "d" after a closing quote/)
    await assert.rejects(table('a,b\nc,"d\ne,f\n'), /^Error: data\/a.csv:2: a quote is opened in this row and never/)
  })

  test('are read however many there are', async () => {
    const text = 'some words,"a quoted ""one""",3\n'.repeat(20_000)
    assert.equal((await table(text)).length, 20_000)
  })
})
