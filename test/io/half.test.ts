import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../../src/io/half.ts'

const words = Uint16Array.from({ length: 65536 }, (_, i) => i)
const formats = [
  { name: 'float16', from: fromFloat16, to: toFloat16, exponent: 5, mantissa: 10 },
  { name: 'bfloat16', from: fromBfloat16, to: toBfloat16, exponent: 8, mantissa: 7 },
] as const

for (const { name, from, to, exponent, mantissa } of formats) {
  const values = from(words)

  test(`every ${name} word has the value that its sign, exponent and fraction say`, () => {
    const bias = 2 ** (exponent - 1) - 1
    for (const word of words) {
      const sign = word >>> 15 ? -1 : 1
      const e = (word >>> mantissa) & (2 ** exponent - 1)
      const fraction = (word & (2 ** mantissa - 1)) / 2 ** mantissa
      const special = fraction === 0 ? Infinity : Number.NaN
      const size =
        e === 2 ** exponent - 1 ? special : e === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (e - bias)
      assert.ok(Object.is(values[word], sign * size), `${name} ${word}: ${values[word]} ${sign * size}`)
    }
  })

  test(`every ${name} number comes back as the same word`, () => {
    const back = to(values)
    for (const word of words) if (!Number.isNaN(values[word])) assert.equal(back[word], word)
    for (const word of words)
      if (Number.isNaN(values[word])) assert.ok(Number.isNaN(from(back.subarray(word, word + 1))[0]))
  })

  test(`between two ${name} numbers the nearer is taken, and half way the even one`, () => {
    const positive = words.subarray(0, 2 ** 15 - 2 ** mantissa - 1)
    const middles = Float32Array.from(positive, (word) => (values[word]! + values[word + 1]!) / 2)
    const rounded = to(middles)
    for (const word of positive) if (middles[word] !== values[word]) assert.equal(rounded[word], word + (word & 1))
    const real = fc.float({ noNaN: true, min: 0, max: values[positive.length - 1]! })
    fc.assert(
      fc.property(real, (value) => {
        const word = to(Float32Array.of(value))[0]!
        for (const near of [word - 1, word + 1]) {
          if (near >= 0) assert.ok(Math.abs(value - values[word]!) <= Math.abs(value - values[near]!))
        }
      }),
    )
  })

  test(`what is past the largest ${name} is infinity, and signs are kept`, () => {
    const largest = values[2 ** 15 - 2 ** mantissa - 1]!
    assert.deepEqual(
      [...from(to(Float32Array.of(-largest, -Infinity, Infinity, -0)))],
      [-largest, -Infinity, Infinity, -0],
    )
  })
}

test('float16 words of any number, at any offset, come without touching what is beside them', () => {
  const values = fromFloat16(words)
  for (const [start, count] of [
    [0, 0],
    [1, 1],
    [3, 7],
    [5, 9],
    [11, 32768],
    [2, 32769],
    [7, 65529],
  ] as const) {
    const room = new Float32Array(count + 2).fill(7)
    fromFloat16(words.subarray(start, start + count), room.subarray(1, 1 + count))
    const want = new Float32Array(count + 2).fill(7)
    want.set(values.subarray(start, start + count), 1)
    assert.deepEqual(room, want)
  }
})

test('float16 rounds to infinity from 65520 on', () => {
  assert.deepEqual(
    [...fromFloat16(toFloat16(Float32Array.of(65519.9, 65520, 1e30, -1e30)))],
    [65504, Infinity, Infinity, -Infinity],
  )
})
