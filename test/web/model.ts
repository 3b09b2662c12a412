/** A small model and text to convert in a browser, and the same conversion in Node. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finish } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { convert } from '../../src/convert/convert.ts'
import { trainBpe } from '../../src/io/bpe.ts'
import { documentsOf } from '../../src/io/corpus.ts'
import { splitTexts } from '../../src/io/splits.ts'
import { newModel } from '../../src/models/families.ts'
import { saveModel } from '../../src/models/folder.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { loadLanguage } from '../../src/models/writing.ts'
import { openDevice } from '../../src/node/device.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import type { ConversionChoices } from '../../src/page/conversion.ts'
import { conversionJob } from '../../src/page/worker/conversionJob.ts'

/** Files of a person, on disk. */
export interface SmallModel {
  /** A model folder. */
  readonly model: string
  /** A text file. */
  readonly text: string
  /** A shorter one: a GPU that is computed on the CPU is slow. */
  readonly brief: string
  /** A folder that is no model. */
  readonly other: string
  remove(): Promise<void>
}

/** Sentences that can be learned from. */
function sentences(count: number): string {
  const rng = random(5)
  const of = (words: readonly string[]) => words[rng.integer(words.length)]!
  const [who, does, what] = [
    ['a hedgehog', 'the fox', 'my aunt'],
    ['finds', 'sees', 'sells'],
    ['apples', 'a house', 'the sea'],
  ]
  const documents = Array.from({ length: count }, () =>
    Array.from({ length: 12 }, () => `${of(who)} ${of(does)} ${of(what)}.`).join(' '),
  )
  return documents.join('\n<|endoftext|>\n')
}

export async function smallModel(): Promise<SmallModel> {
  const root = await mkdtemp(join(tmpdir(), 'hedgehog-small-'))
  const [model, other] = [join(root, 'small'), join(root, 'holiday')]
  const [text, brief] = [join(root, 'text.txt'), join(root, 'brief.txt')]
  const words = sentences(60)
  const tokenizer = trainBpe([words], { vocabSize: 280 })
  const config = gpt2.configOf({ layers: 2, heads: 2, width: 16, vocab: 280, maxLength: 24 })
  await saveModel(folderSink(model), newModel(config, random(3)), { tokenizer })
  await writeFile(text, words)
  await writeFile(brief, sentences(12))
  await folderSink(other).write('picture.txt', [Buffer.from('sea')])
  return { model, text, brief, other, remove: () => rm(root, { recursive: true, force: true }) }
}

/** The conversion that the page does, on onnxruntime-node. */
export async function convertedInNode({ model, text }: SmallModel, choices: ConversionChoices) {
  const { readFile } = await import('node:fs/promises')
  const loaded = await loadLanguage(folderSource(model))
  const texts = splitTexts(documentsOf(await readFile(text, 'utf8')), choices.seed)
  const clock = () => performance.now() / 1000
  return finish(convert(conversionJob(await openDevice('cpu', { threads: 1 }), loaded, texts, choices, { clock })))
}
