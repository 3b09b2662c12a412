import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Reader } from '../../src/cli/readers.ts'
import { anyText, integer, listOf, number, oneOf } from '../../src/cli/readers.ts'

const cases: readonly { reader: Reader<unknown>; good: readonly [string, unknown][]; bad: readonly string[] }[] = [
  { reader: anyText, good: [['a b', 'a b']], bad: [''] },
  {
    reader: integer(),
    good: [
      ['1', 1],
      ['1e6', 1000000],
    ],
    bad: ['0', '-1', '1.5', '', 'x', '0x10', '1e400', 'Infinity', ' 3'],
  },
  { reader: integer(2, 4), good: [['2', 2]], bad: ['1', '5'] },
  {
    reader: number({ above: 0 }),
    good: [
      ['3e-4', 3e-4],
      ['.5', 0.5],
    ],
    bad: ['0', '-1', 'NaN', 'Infinity', ''],
  },
  { reader: number({ from: 0, below: 1 }), good: [['0', 0]], bad: ['1', '-0.1'] },
  { reader: oneOf('cpu', 'webgpu'), good: [['cpu', 'cpu']], bad: ['gpu', 'CPU', ''] },
  { reader: listOf(oneOf('elu', 't2r')), good: [['elu, t2r', ['elu', 't2r']]], bad: ['', 'elu,', 'elu,relu'] },
]

for (const { reader, good, bad } of cases) {
  test(`a reader of ${reader.want} takes what it says and nothing else`, () => {
    for (const [text, value] of good) assert.deepEqual(reader.read(text), value, text)
    for (const text of bad) assert.equal(reader.read(text), undefined, text)
  })
}

test('a reader of numbers says its limits in words', () => {
  assert.equal(number().want, 'a number')
  assert.equal(number({ above: 0 }).want, 'a number above 0')
  assert.equal(number({ from: 0, below: 1 }).want, 'a number at least 0 and below 1')
})
