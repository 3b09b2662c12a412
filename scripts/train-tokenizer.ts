/**
 * Trains a byte-level BPE tokenizer on text and writes it as `tokenizer.json`.
 * `node --import tsx scripts/train-tokenizer.ts --data FILE --vocab N --out FILE`; `--data` may be given several times.
 */

import { readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { trainBpe } from '../src/io/bpe.ts'
import { folderSink } from '../src/node/files.ts'

const { values } = parseArgs({
  options: {
    data: { type: 'string', multiple: true, default: ['.cache/text/train.txt'] },
    vocab: { type: 'string', default: '8192' },
    out: { type: 'string', default: '.cache/text/tokenizer.json' },
  },
})

const start = performance.now()
const texts = values.data.map((file) => readFileSync(file, 'utf8'))
const json = trainBpe(texts, { vocabSize: Number(values.vocab) })
await folderSink(dirname(values.out)).write(basename(values.out), [new TextEncoder().encode(JSON.stringify(json))])
const seconds = ((performance.now() - start) / 1000).toFixed(1)
console.log(`${values.out}: ${values.vocab} tokens from ${texts.join('').length} characters in ${seconds} s`)
