/**
 * Has lm-evaluation-harness score held-out documents through `hedgehog serve`, and scores them as `hedgehog eval` does.
 * `npm run build && HEDGEHOG_PYTHON=… node --import tsx scripts/harness.ts [--model models/tiny] [--documents 40] [--json]`
 *
 * The documents are the beginnings of held-out Brown texts (`scripts/prepare-text.ts --brown-only`) of nearly as many tokens as
 * the model reads at once. Ends with code 1 unless both give the same bits per byte within 1e-5.
 */

import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { ints } from '../src/base/array.ts'
import { createForward } from '../src/execute/forward.ts'
import { documentsOf } from '../src/io/corpus.ts'
import { bitsPerByte } from '../src/metrics/language.ts'
import { openDevice } from '../src/node/device.ts'
import { openWriting } from '../src/node/models.ts'

/** Of the positions the harness leaves some free; longer texts it would read in two parts. */
const spare = 4

const options = parseArgs({
  options: {
    model: { type: 'string', default: 'models/tiny' },
    text: { type: 'string', default: '.cache/brown/test.txt' },
    documents: { type: 'string', default: '40' },
    json: { type: 'boolean', default: false },
  },
}).values
const root = fileURLToPath(new URL('..', import.meta.url))
const python = process.env.HEDGEHOG_PYTHON
if (!python) throw new Error('harness: HEDGEHOG_PYTHON is not set; want a Python that has lm-eval')

const path = resolve(options.model)
const { model, tokenizer } = await openWriting(path)
const end = tokenizer.endOfText
if (end === undefined)
  throw new Error('harness: the tokenizer has no token that ends a text, which documents begin after')
const length = model.config.maxLength
const folder = await mkdtemp(join(tmpdir(), 'hedgehog-harness-'))
try {
  const documents = await readDocuments()
  await writeFile(join(folder, 'documents.jsonl'), documents.map((text) => `${JSON.stringify({ text })}\n`).join(''))
  await writeTokenizer()
  const [own, theirs] = [await scored(documents), await harness()]
  const result = { documents: documents.length, ...own, harness: theirs }
  console.log(JSON.stringify(result, null, options.json ? 0 : 2))
  if (!(Math.abs(own.bits_per_byte - Number(theirs.bits_per_byte)) <= 1e-5)) process.exitCode = 1
} finally {
  await rm(folder, { recursive: true, force: true })
}

/** Beginnings that are the same tokens again when they are read as text. */
async function readDocuments(): Promise<string[]> {
  const found = documentsOf(await readFile(options.text, 'utf8')).flatMap((text) => {
    const beginning = tokenizer.decode([...tokenizer.encode(text)].slice(0, length - spare))
    return tokenizer.encode(beginning).length <= length - spare ? [beginning] : []
  })
  return found.slice(0, Number(options.documents))
}

/** The tokenizer as the harness's library wants it. */
async function writeTokenizer(): Promise<void> {
  const mark = tokenizer.decode([end!])
  const settings = { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: mark, eos_token: mark }
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer.json))
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(settings))
}

/** −ln p of each token after the end of another text, as `hedgehog eval` computes it. */
async function scored(documents: readonly string[]) {
  const forward = createForward(await openDevice('cpu'), model.config)
  const losses: number[] = []
  let bytes = 0
  for (const text of documents) {
    const ids = [...tokenizer.encode(text)]
    const h = await forward.hidden(model.params, { ids: ints([1, ids.length], [end!, ...ids.slice(0, -1)]) })
    losses.push(...(await forward.losses(model.params, h, ints([1, ids.length], ids))))
    bytes += Buffer.byteLength(text)
  }
  await forward.dispose()
  const loss = losses.reduce((sum, one) => sum + one, 0)
  return {
    tokens: losses.length,
    bytes,
    perplexity: Math.exp(loss / losses.length),
    bits_per_byte: bitsPerByte({ losses, bytes }),
  }
}

/** What lm-evaluation-harness finds by asking a server of this model. */
async function harness(): Promise<Record<string, unknown>> {
  const server = spawn('node', [join(root, 'dist/cli/main.js'), 'serve', path, '--port', '0', '--name', 'model'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const url = await new Promise<string>((found, fail) => {
      server.once('exit', (code) => fail(new Error(`harness: hedgehog serve ended with code ${code}`)))
      server.stdout.on('data', (chunk) => {
        const match = /http:\/\/[^ /]+/.exec(String(chunk))
        if (match) found(match[0])
      })
    })
    const script = join(root, 'scripts/peers/lm_eval.py')
    const given = ['--url', url, '--model', 'model', '--tokenizer', folder, '--length', `${length}`]
    const line = [script, ...given, '--documents', join(folder, 'documents.jsonl')]
    const { stdout } = await promisify(execFile)(python!, line, { maxBuffer: 2 ** 26 }).catch((error) => {
      throw new Error(`harness: lm_eval.py failed: ${String(error.stderr).slice(-2000)}`)
    })
    return JSON.parse(stdout.trim().split('\n').at(-1)!)
  } finally {
    server.kill('SIGINT')
  }
}
