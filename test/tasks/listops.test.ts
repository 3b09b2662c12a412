import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { listOps, listOpsSource, listOpsTokens, listOpsVocabulary, withoutClosing } from '../../src/tasks/listops.ts'

function* first<T>(count: number, items: Iterator<T>): Generator<T> {
  for (let i = 0; i < count; i++) yield items.next().value
}

/** Evaluates the release's form by rewriting innermost lists until a digit is left, apart from the generator's code. */
function evaluate(source: string): number {
  let text = source.replace(/[()]/g, ' ').replace(/\s+/g, ' ').trim()
  const inner = /\[(MIN|MAX|MED|SM)((?: \d)+) \]/g
  while (text.includes('[')) {
    const next = text.replace(inner, (_, name: string, list: string) => {
      const values = list
        .trim()
        .split(' ')
        .map(Number)
        .sort((a, b) => a - b)
      const n = values.length
      if (name === 'MIN') return String(values[0])
      if (name === 'MAX') return String(values[n - 1])
      if (name === 'SM') return String(values.reduce((sum, value) => sum + value) % 10)
      const middle = n % 2 === 1 ? values[(n - 1) / 2]! : (values[n / 2 - 1]! + values[n / 2]!) / 2
      return String(Math.trunc(middle))
    })
    assert.notEqual(next, text, `cannot be read: ${text.slice(0, 80)}`)
    text = next
  }
  return Number(text)
}

/** Depth of nesting and largest number of values. */
function measure(source: string): { depth: number; values: number } {
  const open: number[] = []
  let depth = 0
  let values = 0
  for (const word of source.split(' ')) {
    if (word === '(' || word === ')') continue
    if (word !== ']' && open.length > 0) open[open.length - 1]!++
    if (word.startsWith('[')) open.push(0)
    depth = Math.max(depth, open.length)
    if (word === ']') values = Math.max(values, open.pop()!)
  }
  return { depth, values }
}

describe('ListOps', () => {
  const options = fc
    .record({ minLength: fc.nat(12), more: fc.integer({ min: 8, max: 60 }), seed: fc.nat(99) })
    .map(({ minLength, more, seed }) => ({ minLength, maxLength: minLength + more, seed }))

  test('every label is what an evaluator of its own finds', () => {
    fc.assert(
      fc.property(options, ({ seed, ...sizes }) => {
        for (const { input, label } of first(8, listOps(sizes, { seed }))) {
          assert.equal(evaluate(listOpsSource(input)), label)
          assert.ok(input.length > sizes.minLength && input.length < sizes.maxLength)
        }
      }),
    )
  })

  test('with the defaults of the release, lengths, depth and lists keep their limits', () => {
    let deepest = 0
    let longest = 0
    for (const { input, label } of first(12, listOps({}, { seed: 1 }))) {
      const source = listOpsSource(input)
      const { depth, values } = measure(source)
      assert.equal(evaluate(source), label)
      assert.ok(input.length > 500 && input.length < 2000)
      assert.ok(depth <= 9 && values <= 10)
      deepest = Math.max(deepest, depth)
      longest = Math.max(longest, values)
    }
    assert.equal(deepest, 9)
    assert.equal(longest, 10)
  })

  test('depth and number of values can be bounded', () => {
    for (const { input } of first(
      50,
      listOps({ minLength: 4, maxLength: 40, maxDepth: 3, maxArguments: 4 }, { seed: 2 }),
    )) {
      const { depth, values } = measure(listOpsSource(input))
      assert.ok(depth <= 2 && values <= 4)
    }
  })

  test('uses every operator and gives every digit as a label', () => {
    const examples = [...first(400, listOps({ minLength: 3, maxLength: 60 }, { seed: 3 }))]
    assert.equal(new Set(examples.map(({ label }) => label)).size, 10)
    const used = new Set(examples.flatMap(({ input }) => [...input]))
    assert.deepEqual(
      [...used].sort((a, b) => a - b),
      listOpsVocabulary.slice(1).map((_, i) => i + 1),
    )
  })

  test('gives the same expressions for a seed, and never one twice', () => {
    const texts = (seed: number) =>
      [...first(120, listOps({ minLength: 2, maxLength: 6 }, { seed }))].map(({ input }) => listOpsSource(input))
    assert.deepEqual(texts(5), texts(5))
    assert.notDeepEqual(texts(5), texts(6))
    assert.equal(new Set(texts(5)).size, 120)
  })

  test('is written and read as the release has it', () => {
    const source = '( ( ( ( [MAX 4 ) 3 ) ( ( ( [SM 9 ) 8 ) ] ) ) ] )'
    const tokens = listOpsTokens(source)
    assert.equal([...tokens].map((id) => listOpsVocabulary[id]).join(' '), '[MAX 4 3 [SM 9 8 ] ]')
    assert.equal(listOpsSource(tokens), source)
    assert.equal([...withoutClosing(tokens)].map((id) => listOpsVocabulary[id]).join(' '), '[MAX 4 3 [SM 9 8')
    assert.deepEqual([...listOpsTokens('7')], [8])
    assert.equal(evaluate('( ( ( ( [MED 8 ) 1 ) 2 ) ] )'), 2)
    fc.assert(
      fc.property(options, ({ seed, ...sizes }) => {
        for (const { input } of first(3, listOps(sizes, { seed }))) {
          assert.deepEqual(listOpsTokens(listOpsSource(input)), input)
        }
      }),
    )
  })

  test('refuses words, sizes and lengths that cannot be', () => {
    assert.throws(() => listOpsTokens('( [MAX 4 ) 12', 'basic_train.tsv:7'), /^Error: basic_train.tsv:7: got "12"/)
    assert.throws(() => listOpsTokens('<pad>'), /got "<pad>"/)
    assert.throws(() => listOps({ minLength: 9, maxLength: 10 }, { seed: 0 }).next(), {
      name: 'RangeError',
      message: /got maxLength 10, want a whole number from 11/,
    })
    assert.throws(() => listOps({ maxArguments: 1 }, { seed: 0 }).next(), /got maxArguments 1/)
    const digits = listOps({ minLength: 0, maxLength: 2 }, { seed: 0 })
    assert.equal([...first(10, digits)].length, 10)
    assert.throws(() => digits.next(), /gave no new expression of length 1 to 1; widen the lengths/)
  })
})
