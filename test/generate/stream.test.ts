import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { stopFilter, textStream } from '../../src/generate/stream.ts'

describe('a text stream', () => {
  it('gives out the whole text, and no half character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const bytes = [...new TextEncoder().encode(text)]
        const stream = textStream((ids) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(ids)))
        const parts = bytes.map((byte) => stream.push(byte))
        for (const part of parts) assert.doesNotMatch(part, /\p{Surrogate}|\uFFFD/u)
        assert.equal(parts.join('') + stream.end(), text)
      }),
    )
  })

  it('keeps the spaces of a tokenizer that drops the first one', () => {
    const words = ['▁The', '▁old', '▁house', 's']
    const stream = textStream((ids) =>
      ids
        .map((id) => words[id]!)
        .join('')
        .replaceAll('▁', ' ')
        .replace(/^ /, ''),
    )
    assert.deepEqual(
      [0, 1, 2, 3].map((id) => stream.push(id)),
      ['The', ' old', ' house', 's'],
    )
  })

  it('gives out at the end what never became a character', () => {
    const stream = textStream((ids) => new TextDecoder().decode(Uint8Array.from(ids)))
    assert.deepEqual([stream.push(65), stream.push(0xe2), stream.end()], ['A', '', '\uFFFD'])
  })

  it('does not hold back for ever what is no character', () => {
    const stream = textStream((ids) => new TextDecoder().decode(Uint8Array.from(ids)))
    const parts = Array.from({ length: 40 }, () => stream.push(0xff))
    assert.ok(parts.join('').length >= 32)
  })
})

/** The stop string that is complete first, the longer one of two that end together: before which character it begins. */
function cutAt(text: string, stops: readonly string[]): number | undefined {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop))
    if (found.length > 0) return end - Math.max(...found.map((stop) => stop.length))
  }
  return undefined
}

describe('a stop filter', () => {
  // Two letters, so that stop strings are found, overlap and contain each other.
  const word = (maxLength: number, minLength = 0) =>
    fc.string({ unit: fc.constantFrom('a', 'b'), minLength, maxLength })

  it('gives out all before the first complete stop string, however the text is cut', () => {
    fc.assert(
      fc.property(fc.array(word(5), { maxLength: 8 }), fc.array(word(4, 1), { maxLength: 3 }), (pieces, stops) => {
        const filter = stopFilter(stops)
        const out = pieces.map((piece) => filter.push(piece)).join('') + filter.end()
        const text = pieces.join('')
        const cut = cutAt(text, stops)
        assert.equal(out, text.slice(0, cut))
        assert.equal(filter.stopped(), cut !== undefined)
      }),
      { numRuns: 1000 },
    )
  })

  it('holds back only what may become a stop string', () => {
    const filter = stopFilter(['\n\nUser:'])
    assert.deepEqual(
      ['Hello', '\n', '\nU', 's', 'ing', '\n\n', 'User', ':', 'never'].map((piece) => filter.push(piece)),
      ['Hello', '', '', '', '\n\nUsing', '', '', '', ''],
    )
    assert.deepEqual([filter.end(), filter.stopped()], ['', true])
  })

  it('refuses an empty stop string', () => assert.throws(() => stopFilter(['a', '']), /empty stop string/))
})
