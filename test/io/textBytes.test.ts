import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeDocuments } from '../../src/io/batches.ts'
import { trainBpe } from '../../src/io/bpe.ts'
import { textBytes } from '../../src/io/textBytes.ts'
import { tokenizerFrom } from '../../src/io/tokenizer.ts'

test('the bytes of documents are those of their texts, without the tokens that end them', () => {
  const tokenizer = tokenizerFrom(trainBpe(['one two'], { vocabSize: 258 }))
  const text = fc.string({ unit: 'grapheme' })
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), (texts) => {
      const bytes = texts.reduce((sum, one) => sum + new TextEncoder().encode(one).length, 0)
      assert.equal(textBytes(tokenizer, encodeDocuments(tokenizer, texts)), bytes)
    }),
  )
})
