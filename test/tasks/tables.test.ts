import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { collected } from '../../src/tasks/examples.ts'
import { readTable, type TableOptions, tableClasses } from '../../src/tasks/tables.ts'
import { memory } from './memory.ts'

const read = (path: string, content: string, options?: TableOptions) =>
  collected(readTable(memory({ [path]: content }), path, options))

describe('a table', () => {
  test('gives the same examples as CSV, TSV and JSON lines', async () => {
    const want = [
      { input: 'good, "very"', label: 1 },
      { input: 'bad', label: 0 },
    ]
    const csv = 'label,text\npositive,"good, ""very"""\nnegative,bad\n'
    const tsv = 'text\tlabel\ngood, "very"\tpositive\nbad\tnegative\n'
    const jsonl = '{"text":"good, \\"very\\"","label":"positive"}\n\n{"label":"negative","text":"bad"}\n'
    assert.deepEqual(await read('a.csv', csv), want)
    assert.deepEqual(await read('a.tsv', tsv), want)
    assert.deepEqual(await read('a.jsonl', jsonl), want)
    assert.deepEqual(await read('a.txt', jsonl, { format: 'jsonl' }), want)
  })

  test('has its columns chosen by name or number', async () => {
    const rows = '1\tone\ta\n0\ttwo\tb\n'
    const byNumber = await read('a.tsv', rows, { text: 1, pair: 2, label: 0 })
    assert.deepEqual(byNumber, [
      { input: 'one', pair: 'a', label: 1 },
      { input: 'two', pair: 'b', label: 0 },
    ])
    const header = `sentiment\tfirst\tsecond\n${rows}`
    assert.deepEqual(await read('a.tsv', header, { text: 'first', pair: 'second', label: 'sentiment' }), byNumber)
    assert.deepEqual(await read('a.tsv', header, { text: 1, pair: 2, label: 0, header: true }), byNumber)
    const lists = '["1","one","a"]\n[0,"two","b"]\n'
    assert.deepEqual(await read('a.jsonl', lists, { text: 1, pair: 2, label: 0 }), byNumber)
  })

  test('has classes in order of number or name, the given ones, or values where there are none', async () => {
    const classes = (content: string) => tableClasses(memory({ 'a.csv': content }), 'a.csv')
    assert.deepEqual(await classes('text,label\na,10\nb,9\nc,10\n'), ['9', '10'])
    assert.deepEqual(await classes('text,label\na,spam\nb,ham\n'), ['ham', 'spam'])
    const given = await read('a.csv', 'text,label\na,x\nb,y\n', { classes: ['y', 'x'] })
    assert.deepEqual(
      given.map(({ label }) => label),
      [1, 0],
    )
    const values = await read('a.csv', 'text,label\na,0.5\nb,-2\n', { classes: [] })
    assert.deepEqual(
      values.map(({ label }) => label),
      [0.5, -2],
    )
  })

  test('that is malformed names file and line', async () => {
    const cases: [string, string, TableOptions, RegExp][] = [
      ['a.csv', 'text,label\na,1\nb\n', {}, /^Error: data\/a.csv:3: got 1 columns, want the 2 of the header/],
      ['a.csv', 'words,label\na,1\n', {}, /^Error: data\/a.csv:2: got the columns words, label, want text/],
      [
        'a.tsv',
        'a\t1\n',
        { text: 0, label: 4 },
        /^Error: data\/a.tsv:1: got 2 columns without names, want one of number 4/,
      ],
      [
        'a.csv',
        'text,label\na,1\nb,z\n',
        { classes: ['0', '1'] },
        /^Error: data\/a.csv:3: got the label "z", want one of 0, 1$/,
      ],
      ['a.csv', 'text,label\na,\n', { classes: [] }, /^Error: data\/a.csv:2: got the label "", want a number/],
      ['a.jsonl', '{"text":"a","label":1}\n{"text":\n', {}, /^Error: data\/a.jsonl:2: is not JSON/],
      ['a.jsonl', '3\n', {}, /^Error: data\/a.jsonl:1: got 3, want an object or a list/],
      ['a.jsonl', '{"text":"a"}\n', {}, /^Error: data\/a.jsonl:1: got label: nothing, want a text or a number/],
      ['a.jsonl', '{"text":null,"label":1}\n', {}, /^Error: data\/a.jsonl:1: got text: null, want/],
      ['a.xml', '', {}, /^Error: data\/a.xml: got no known end of a file name, want .csv/],
    ]
    for (const [path, content, options, message] of cases) await assert.rejects(read(path, content, options), message)
  })
})
