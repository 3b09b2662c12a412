/** Small folders in the form of the releases that experiments read, and a small model to convert. */

import { random } from '../../src/base/random.ts'
import { learnedTokenizer, smallEncoder } from '../../src/experiments/labelled.ts'
import type { Source } from '../../src/io/files.ts'
import { saveModel } from '../../src/models/folder.ts'
import { listOps, listOpsSource } from '../../src/tasks/listops.ts'
import { folder } from '../folder.ts'
import { memory } from '../tasks/memory.ts'

const words = 'the old house by the river was sold again to a man who had never seen it before he came'.split(' ')
const sentence = (i: number) =>
  Array.from({ length: 4 + (i % 5) }, (_, j) => words[(i * 7 + j) % words.length]).join(' ')

const indices = Array.from({ length: 12 }, (_, i) => i)
const table = (head: readonly string[], row: (i: number) => readonly (string | number)[]) =>
  [...(head.length ? [head] : []), ...indices.map(row)].map((fields) => `${fields.join('\t')}\n`).join('')
const pair = (head: string, label: (i: number) => string | number) =>
  table(head.split(' '), (i) => [i, sentence(i), sentence(i + 3), label(i)])

/** Training and development files of each task of GLUE, by folder. */
const glueFiles: Readonly<Record<string, string>> = {
  CoLA: table([], (i) => ['gj04', i % 2, '', sentence(i)]),
  'SST-2': table(['sentence', 'label'], (i) => [sentence(i), i % 2]),
  MRPC: table(['Quality', '#1 ID', '#2 ID', '#1 String', '#2 String'], (i) => [
    i % 2,
    i,
    i,
    sentence(i),
    sentence(i + 1),
  ]),
  'STS-B': pair('index sentence1 sentence2 score', (i) => (i % 11) / 2),
  QQP: pair('id question1 question2 is_duplicate', (i) => i % 2),
  MNLI: pair('index sentence1 sentence2 gold_label', (i) => ['entailment', 'neutral', 'contradiction'][i % 3]!),
  QNLI: pair('index question sentence label', (i) => (i % 2 ? 'entailment' : 'not_entailment')),
  RTE: pair('index sentence1 sentence2 label', (i) => (i % 2 ? 'entailment' : 'not_entailment')),
}

/** All of GLUE, a folder a task. */
export const glueRelease = memory(
  Object.fromEntries(
    Object.entries(glueFiles).flatMap(([task, text]) => [
      [`${task}/train.tsv`, text],
      [`${task}/dev${task === 'MNLI' ? '_matched' : ''}.tsv`, text],
    ]),
  ),
)

const mails = indices.map((i) => `${JSON.stringify({ text: sentence(i), label: i % 3 ? 'ham' : 'spam' })}\n`).join('')

function expressions(): string {
  const stream = listOps({ minLength: 3, maxLength: 20 }, { seed: 1 })
  const rows = indices.map(() => {
    const { input, label } = stream.next().value as { input: Uint8Array; label: number }
    return `${listOpsSource(input)}\t${label}\n`
  })
  return `Source\tTarget\n${rows.join('')}`
}

/** Records of CIFAR-10. */
const records = new Uint8Array(Buffer.concat(indices.map((i) => new Uint8Array(3073).fill(17 * i).fill(i % 10, 0, 1))))
const reviews = (part: string) =>
  indices.map((i) => [`${part}/${i % 2 ? 'pos' : 'neg'}/${i}_7.txt`, sentence(i)] as const)
const papers = indices.map((i) => `${i % 2}\tP${i}\tQ${i}\t${sentence(i)}\t${sentence(i + 2)}\n`).join('')
const paths = indices.map((i) => `imgs/0 sample_${i}.png ${i} ${i % 2}\n`).join('')

/** The folder of each task of the Long Range Arena, and of the mails. Pictures are pixels that need no decoding. */
export const releases: Readonly<Record<string, Source>> = {
  'lra-listops': memory({
    'basic_train.tsv': expressions(),
    'basic_val.tsv': expressions(),
    'basic_test.tsv': expressions(),
  }),
  'lra-text': memory(Object.fromEntries([...reviews('train'), ...reviews('test')])),
  'lra-retrieval': memory(
    Object.fromEntries(['train', 'eval', 'test'].map((part) => [`new_aan_pairs.${part}.tsv`, papers])),
  ),
  'lra-image': memory({
    ...Object.fromEntries([1, 2, 3, 4, 5].map((n) => [`data_batch_${n}.bin`, records])),
    'test_batch.bin': records,
  }),
  'lra-pathfinder': memory({
    'metadata/0.npy': paths,
    ...Object.fromEntries(indices.map((i) => [`imgs/0/sample_${i}.png`, new Uint8Array(1024).fill(20 * i)])),
  }),
  spam: memory({ 'train.jsonl': mails, 'validation.jsonl': mails, 'test.jsonl': mails }),
}

/** A folder with a model like BERT and its tokenizer. */
export async function encoderFolder(): Promise<Source> {
  const tokenizer = learnedTokenizer(indices.map(sentence), 270)
  const sizes = { layers: 1, heads: 2, width: 8, vocab: tokenizer.vocabSize, maxLength: 24 }
  const files = folder()
  await saveModel(files, smallEncoder(sizes, random(1)), { tokenizer: tokenizer.json })
  return files
}
