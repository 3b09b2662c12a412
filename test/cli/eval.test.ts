/** `hedgehog eval --metric` on models of each task, beside what the library measures itself. */

import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { commands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import { createForward } from '../../src/execute/forward.ts'
import { generate } from '../../src/generate/generate.ts'
import { createGenerator } from '../../src/generate/state.ts'
import { trainBpe } from '../../src/io/bpe.ts'
import { tokenizerFrom } from '../../src/io/tokenizer.ts'
import { accuracy } from '../../src/metrics/classification.ts'
import { metrics } from '../../src/metrics/metrics.ts'
import { bert } from '../../src/models/bert.ts'
import { saveModel } from '../../src/models/folder.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import type { Model, Task } from '../../src/models/model.ts'
import { folderSink } from '../../src/node/files.ts'
import { heldOutExamples, packExamples } from '../../src/tasks/batches.ts'
import { packingOf } from '../../src/tasks/tokenizerPack.ts'
import { noisyModel } from '../execute/tiny.ts'
import { device } from '../tensors.ts'

let folder = ''
const at = (name: string) => join(folder, name)

const text = `${'the old house stands near the quiet river, and its green door is old. '.repeat(12)}\n`
const bpe = trainBpe([text], { vocabSize: 270 })
const tokenizer = tokenizerFrom(bpe)
const sizes = { layers: 1, heads: 2, width: 6, vocab: 270, maxLength: 24 }
const language = noisyModel(gpt2.configOf(sizes))
const begin = { SpecialToken: { id: '<|endoftext|>', type_id: 0 } }
const sequence = { Sequence: { id: 'A', type_id: 0 } }
const special = { '<|endoftext|>': { id: '<|endoftext|>', ids: [tokenizer.endOfText!], tokens: ['<|endoftext|>'] } }
const framed = {
  ...bpe,
  post_processor: { type: 'TemplateProcessing', single: [begin, sequence], special_tokens: special },
}

async function saved(name: string, task: Task, labels: number): Promise<Model> {
  const model = noisyModel(bert.configOf({ ...sizes, task, labels }))
  await saveModel(folderSink(at(name)), model, { tokenizer: framed })
  return model
}

let classifier: Model
let regression: Model

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-eval-'))
  await saveModel(folderSink(at('language')), language, { tokenizer: bpe })
  classifier = await saved('classifier', 'classification', 3)
  regression = await saved('regression', 'regression', 1)
  await saved('masked', 'masked-language', 0)
  await writeFile(at('text.txt'), text)
})
after(() => rm(folder, { recursive: true, force: true }))

async function hedgehog(argv: readonly string[], see?: (record: { step: number }, interrupt: () => void) => void) {
  const written = { out: '', err: '' }
  const signals = new EventEmitter()
  const code = await runCommandLine(['eval', ...argv], commands, {
    out: {
      write: (line: string) => {
        written.out += line
        if (line.startsWith('{')) see?.(JSON.parse(line), () => signals.emit('SIGINT'))
      },
    },
    err: { write: (line: string) => (written.err += line) },
    env: {},
    signals,
    version: '1.2.3',
    now: () => 0,
    memory: () => 0,
    exit: () => {},
  })
  return { code, ...written }
}

async function result(...argv: readonly string[]) {
  const { code, out, err } = await hedgehog([...argv, '--json'])
  assert.equal(code, 0, err)
  return JSON.parse(out.trimEnd().split('\n').at(-1)!)
}

async function fails(code: number, message: RegExp, ...argv: readonly string[]): Promise<void> {
  const found = await hedgehog([...argv, '--quiet'])
  assert.match(found.err, message)
  assert.deepEqual([found.code, found.out, found.err.trimEnd().split('\n').length], [code, '', 1])
}

describe('hedgehog eval of a language model', () => {
  const data = () => ['--data', at('text.txt'), '--length', '16']

  it('says perplexity where no metric is asked for, and the same where it is', async () => {
    const plain = await result(at('language'), ...data())
    assert.deepEqual(Object.keys(plain), ['model', 'loss', 'perplexity', 'tokens'])
    const names = 'perplexity,perplexity-by-position,bits-per-byte'
    const found = await result(at('language'), ...data(), '--metric', names)
    assert.deepEqual(Object.keys(found.metrics), names.split(','))
    assert.equal(found.metrics.perplexity.value, plain.perplexity)
    assert.equal(found.tokens, plain.tokens)
    assert.deepEqual(Object.keys(found.metrics['perplexity-by-position'].parts), ['0', '1', '2–3', '4–7', '8–15'])
    // All predicted tokens are of the text; the first is only read.
    const ids = tokenizer.encode(text)
    const bytes = new TextEncoder().encode(tokenizer.decode(ids.subarray(1, 1 + plain.tokens))).length
    assert.equal(found.bytes, bytes)
    const bits = (plain.loss * plain.tokens) / Math.LN2 / bytes
    assert.ok(Math.abs(found.metrics['bits-per-byte'].value - bits) < 1e-9)
  })

  it('prints a line for each metric', async () => {
    const { out } = await hedgehog([at('language'), ...data(), '--metric', 'bits-per-byte,perplexity-by-position'])
    assert.match(
      out,
      /^bits-per-byte [\d.]+\nperplexity-by-position [\d.]+\n {2}0 [\d.]+\n[\s\S]*on \d+ tokens, 16 at a time\n$/,
    )
  })

  it('compares answers, always the likeliest tokens, with those that are wanted', async () => {
    const questions = ['the old', ' near', 'house'].map((prompt, i) => ({ prompt, completion: ` the house ${i}` }))
    await writeFile(at('questions.jsonl'), questions.map((question) => JSON.stringify(question)).join('\n'))
    const argv = [
      '--data',
      at('questions.jsonl'),
      '--metric',
      'rouge-1,rouge-l',
      '--tokens',
      '5',
      '--batch',
      '2',
      '--stem',
    ]
    const found = await result(at('language'), ...argv)
    const generator = createGenerator(device, language)
    const texts: string[] = []
    for (const { prompt } of questions) {
      const ids: number[] = []
      const stop = [tokenizer.endOfText!]
      for await (const { id } of generate(generator, tokenizer.encode(prompt), {
        temperature: 0,
        maxTokens: 5,
        stop,
      })) {
        ids.push(id)
      }
      texts.push(tokenizer.decode(ids).trim())
    }
    await generator.dispose()
    assert.deepEqual(found.answers, texts)
    const references = questions.map(({ completion }) => completion.trim())
    assert.deepEqual(found.metrics['rouge-1'], metrics['rouge-1'].measure({ texts, references, stem: true }))
    assert.equal((await result(at('language'), ...argv, '--max-examples', '2')).examples, 2)
  })

  it('asks by the chat template where data are conversations', async () => {
    const messages = [
      { role: 'user', content: 'old' },
      { role: 'assistant', content: 'house' },
    ]
    await writeFile(at('chats.jsonl'), JSON.stringify({ messages }))
    const argv = [at('language'), '--data', at('chats.jsonl'), '--metric', 'rouge-l', '--tokens', '3']
    await fails(1, /language: has no chat template/, ...argv)
    await writeFile(
      at('language/chat_template.jinja'),
      '{{ messages[0].content }}{% if add_generation_prompt %}:{% endif %}',
    )
    assert.equal((await result(...argv)).examples, 1)
  })

  it('refuses what does not go together before anything is read', async () => {
    const model = [at('language'), '--data', at('missing.txt'), '--metric']
    const known = 'want one of rouge-1, rouge-2, rouge-l, rouge-lsum, perplexity, perplexity-by-position, bits-per-byte'
    await fails(
      2,
      new RegExp(`--metric: got accuracy, which needs classes, for a model of language; ${known}`),
      ...model,
      'accuracy',
    )
    await fails(2, /--metric: got 'bleu', want one of accuracy, f1, .*bits-per-byte/, ...model, 'bleu')
    await fails(
      2,
      /perplexity needs tokens, rouge-1 needs texts; measure them one after the other/,
      ...model,
      'perplexity,rouge-1',
    )
    await fails(
      2,
      /got perplexity, .* for a model of masked-language; and there is none/,
      at('masked'),
      ...model.slice(1),
      'perplexity',
    )
  })

  it('names the line of a question that leaves no room', async () => {
    await writeFile(at('long.jsonl'), `\n{"prompt":"${'old '.repeat(30)}","completion":"a"}`)
    const argv = [at('language'), '--data', at('long.jsonl'), '--metric', 'rouge-1', '--tokens', '3']
    await fails(1, /long\.jsonl:2: \d+ tokens of prompt and 3 more need \d+ positions, want at most 24/, ...argv)
  })

  it('stops at Ctrl-C', async () => {
    const lines = Array.from({ length: 9 }, () => '{"prompt":"the","completion":"a"}')
    await writeFile(at('many.jsonl'), lines.join('\n'))
    const argv = ['--data', at('many.jsonl'), '--metric', 'rouge-1', '--tokens', '4', '--batch', '1', '--json']
    const { code, err } = await hedgehog([at('language'), ...argv], ({ step }, interrupt) => step === 2 && interrupt())
    assert.equal(code, 130)
    assert.match(err, /answer: stopped after prompt 2 of 9/)
  })
})

describe('hedgehog eval of a classifier', () => {
  const rows = ['the old house', 'a green door', 'river', 'its old, old door is green', 'quiet'].map(
    (input, i) => ({ input, label: i % 3 }) as const,
  )
  const names = ['LABEL_0', 'LABEL_1', 'LABEL_2']

  it('measures metrics of classes on a table, whose labels are names or numbers', async () => {
    const table = rows.map(({ input, label }, i) => `${i % 2 ? label : names[label]},"${input}"`)
    await writeFile(at('table.csv'), `kind,sentence\n${table.join('\n')}\n`)
    const columns = ['--text', 'sentence', '--label', 'kind']
    const argv = ['--data', at('table.csv'), ...columns, '--metric', 'accuracy,f1-macro,matthews', '--batch', '2']
    const found = await result(at('classifier'), ...argv)
    assert.equal(found.examples, 5)

    const pack = packingOf({ json: framed }, { maxLength: 24 })
    const packed = await packExamples(rows, tokenizer.encode, pack)
    assert.equal(packed[0]!.ids[0], tokenizer.endOfText)
    const forward = createForward(device, classifier.config)
    const predictions: number[] = []
    for (const batch of heldOutExamples(packed, { batch: 5 })) {
      const { data } = await forward.classify(classifier.params, batch)
      rows.forEach((_, row) => {
        const own = [...data.subarray(row * 3, row * 3 + 3)]
        predictions.push(own.indexOf(Math.max(...own)))
      })
    }
    await forward.dispose()
    assert.equal(found.metrics.accuracy.value, accuracy({ predictions, labels: rows.map(({ label }) => label) }))
  })

  it('measures correlations of a regression', async () => {
    await writeFile(
      at('table.jsonl'),
      rows.map(({ input, label }) => JSON.stringify({ text: input, label: label / 2 })).join('\n'),
    )
    const found = await result(at('regression'), '--data', at('table.jsonl'), '--metric', 'pearson,spearman')
    assert.ok(Math.abs(found.metrics.pearson.value) <= 1 && found.metrics.pearson.value !== 0)
    assert.equal(regression.config.task, 'regression')
    await fails(
      2,
      /got f1, which needs classes, for a model of regression; want one of pearson, spearman/,
      at('regression'),
      '--data',
      'x',
      '--metric',
      'f1',
    )
  })

  it('names the row of a label that the model does not have', async () => {
    await writeFile(at('wrong.tsv'), 'text\tlabel\nold\t3\n')
    const argv = [at('classifier'), '--data', at('wrong.tsv'), '--metric', 'accuracy']
    await fails(1, /wrong\.tsv:2: got the label "3", want one of LABEL_0, LABEL_1, LABEL_2, or 0 to 2/, ...argv)
    await writeFile(at('none.tsv'), 'text\tlabel\n')
    await fails(1, /none\.tsv: got no examples/, at('classifier'), '--data', at('none.tsv'), '--metric', 'accuracy')
    assert.match(await readFile(at('classifier/config.json'), 'utf8'), /LABEL_2/)
  })
})
