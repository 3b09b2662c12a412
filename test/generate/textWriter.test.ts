import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { textWriter } from '../../src/generate/textWriter.ts'

/** Tokens that are runs of bytes, so that characters are spread over them. */
const tokens = fc
  .tuple(
    fc.string({ unit: fc.constantFrom('a', 'b', 'é', '猫'), maxLength: 10 }),
    fc.infiniteStream(fc.integer({ min: 1, max: 3 })),
  )
  .map(([text, sizes]) => {
    const bytes = new TextEncoder().encode(text)
    const cut: Uint8Array[] = []
    for (let start = 0; start < bytes.length; ) {
      const size = sizes.next().value as number
      cut.push(bytes.slice(start, start + size))
      start += size
    }
    return { text, cut }
  })
const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'é', '猫'), minLength: 1, maxLength: 3 }), {
  maxLength: 2,
})

function decoder(cut: readonly Uint8Array[]) {
  return (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids.flatMap((id) => [...cut[id]!])))
}

describe('a text writer', () => {
  it('gives out text up to a stop string, and each token that begins before it once, in order, with its place', () => {
    fc.assert(
      fc.property(tokens, stops, ({ text, cut }, stop) => {
        const writer = textWriter<number>(decoder(cut), stop)
        const pieces = []
        for (const id of cut.keys()) {
          pieces.push(writer.push(id, id))
          if (writer.stopped()) break
        }
        pieces.push(writer.end())
        const written = pieces.map((piece) => piece.text).join('')
        assert.ok(text.startsWith(written))
        assert.equal(
          writer.stopped(),
          stop.some((one) => text.includes(one)),
        )
        if (!writer.stopped()) assert.equal(written, text)
        else assert.ok(stop.some((one) => text.startsWith(one, written.length)))
        const placed = pieces.flatMap((piece) => piece.tokens)
        assert.deepEqual(
          placed.map(({ token }) => token),
          placed.map((_, i) => i),
        )
        for (const { start } of placed) assert.ok(start < Math.max(1, written.length) || !writer.stopped())
        if (!writer.stopped()) assert.equal(placed.length, cut.length)
      }),
      { numRuns: 500 },
    )
  })

  it('keeps a token back as long as its text', () => {
    const texts = ['Hello', '\n', 'User', ':', 'never']
    const writer = textWriter<string>((ids) => ids.map((id) => texts[id]).join(''), ['\nUser:'])
    assert.deepEqual(writer.push(0, 'a'), { text: 'Hello', tokens: [{ start: 0, token: 'a' }] })
    for (const id of [1, 2, 3]) assert.deepEqual(writer.push(id, 'b'), { text: '', tokens: [] })
    assert.equal(writer.stopped(), true)
    assert.deepEqual(writer.end(), { text: '', tokens: [] })
  })
})
