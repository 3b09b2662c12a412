/** Labelled texts and sequences of tokens as data that classifiers learn from. */

import type { FloatArray, Params } from '../base/array.ts'
import { type Random, random } from '../base/random.ts'
import { trainBpe } from '../io/bpe.ts'
import type { Split } from '../io/corpus.ts'
import type { Source } from '../io/files.ts'
import { loadTokenizer, type Tokenizer, tokenizerFrom } from '../io/tokenizer.ts'
import { bert } from '../models/bert.ts'
import { newModel } from '../models/families.ts'
import { loadModel } from '../models/folder.ts'
import type { Model, ModelConfig, ModelSizes } from '../models/model.ts'
import { exampleBatches, heldOutExamples, type PackedExample, packExamples, paddedLengths } from '../tasks/batches.ts'
import { type DatasetName, datasets } from '../tasks/datasets.ts'
import { collected, type Example } from '../tasks/examples.ts'
import { type Pack, packing } from '../tasks/pack.ts'
import type { LabelledData } from './classifier.ts'

/** Packed examples as data of classifiers; each batch is padded to one of few lengths. */
export function labelledData(
  { train, validation, test }: Split<PackedExample>,
  { labels = 'classes', padding = 0 }: { readonly labels?: 'classes' | 'values'; readonly padding?: number } = {},
): LabelledData {
  const all = [...train, ...validation, ...test]
  // Lengths are multiples of 8, which a model's positions need not be.
  const longest = all.reduce((most, { ids }) => Math.max(most, ids.length), 1)
  const lengths = paddedLengths(all).map((length) => Math.min(length, longest))
  const options = { lengths, labels, padding } as const
  return {
    examples: train.length,
    training: (batch, seed) => exampleBatches(train, { batch: Math.min(batch, train.length), seed, ...options }),
    ...(validation.length > 0 && { validation: (batch) => heldOutExamples(validation, { batch, ...options }) }),
    test: (batch) => heldOutExamples(test, { batch, ...options }),
  }
}

/** The first of each part's examples; 0 means all. Those to learn from are drawn, since files may be sorted by label. */
export function limited<T>(
  { train, validation, test }: Split<T>,
  most: { readonly train: number; readonly validation: number; readonly test: number },
  seed: number,
): Split<T> {
  return {
    train: drawn(train, most.train, random(seed).split('train')),
    validation: drawn(validation, most.validation, random(seed).split('validation')),
    test: drawn(test, most.test, random(seed).split('test')),
  }
}

function drawn<T>(items: readonly T[], most: number, rng: Random): readonly T[] {
  if (most === 0 || items.length <= most) return items
  return Array.from(rng.permutation(items.length).subarray(0, most), (index) => items[index]!)
}

/** Takes a share of examples, drawn at random and at least one, for validation. */
export function partOf<T>(examples: readonly T[], share: number, seed: number) {
  const order = random(seed).split('held').permutation(examples.length)
  const count = Math.min(examples.length - 1, Math.max(1, Math.floor(examples.length * share)))
  const part = (from: number, to?: number) => Array.from(order.subarray(from, to), (index) => examples[index]!)
  return { train: part(count), validation: part(0, count) }
}

/** What turns texts into what an encoder reads. */
export interface Reading {
  readonly tokenizer: Tokenizer
  readonly pack: Pack
  readonly padding: number
}

const specials = ['[PAD]', '[CLS]', '[SEP]'] as const

/** Texts between a tokenizer's `[CLS]` and `[SEP]`. @throws Error when it has no such tokens. */
export function readingOf(tokenizer: Tokenizer, maxLength: number): Reading {
  const [padding, start, end] = specials.map((token) => {
    const ids = tokenizer.encode(token)
    if (ids.length === 1) return ids[0]!
    throw new Error(`tokenizer.json: has no token ${token}, want that of a model like BERT`)
  }) as [number, number, number]
  return {
    tokenizer,
    padding,
    pack: packing({ maxLength, before: [start], between: [end], after: [end], types: true }),
  }
}

/** A tokenizer of byte pairs that is learned from texts, with the special tokens of BERT. */
export function learnedTokenizer(texts: Iterable<string>, vocabSize: number): Tokenizer {
  return tokenizerFrom(trainBpe(texts, { vocabSize, specialTokens: specials }))
}

/** Examples of texts as ids. */
export async function packedTexts(
  { train, validation, test }: Split<Example>,
  { tokenizer, pack }: Reading,
): Promise<Split<PackedExample>> {
  const encode = (text: string) => tokenizer.encode(text)
  return {
    train: await packExamples(train, encode, pack),
    validation: await packExamples(validation, encode, pack),
    test: await packExamples(test, encode, pack),
  }
}

/** An encoder like BERT from scratch. */
export function smallEncoder(sizes: ModelSizes, rng: Random): Model {
  return smallModel(bert.configOf(sizes), rng)
}

/**
 * A model from scratch whose weights begin at 1/√width: the usual 0.02 is for a width of 768 and leaves a small model's
 * attention flat. Embeddings of positions and types keep it, since words must be heard above them at first.
 */
export function smallModel(wanted: ModelConfig, rng: Random): Model {
  const { config, params } = newModel(wanted, rng)
  const scale = Math.max(1, 1 / (0.02 * Math.sqrt(config.width)))
  const widened = Object.entries(params).map(([path, array]): [string, FloatArray] => {
    const isWidened = array.shape.length === 2 && !/position|token_type|^classifier/.test(path)
    return [path, isWidened ? { ...array, data: array.data.map((x) => x * scale) } : array]
  })
  return { config, params: Object.fromEntries(widened) as Params }
}

/** A pretrained encoder with an end for classes, or for a number where there are none, and its tokenizer. */
export async function pretrained(source: Source, classes: number, rng: Random) {
  const task =
    classes === 0 ? ({ task: 'regression' } as const) : ({ task: 'classification', labels: classes } as const)
  return { model: await loadModel(source, { ...task, rng }), tokenizer: await loadTokenizer(source) }
}

/**
 * The parts of a dataset of texts. Where its test labels are secret, the development part is reported on, and a
 * twentieth of the training examples takes its place.
 */
export async function textSplit(name: DatasetName, source: Source, seed: number): Promise<Split<Example>> {
  const dataset = datasets[name]
  if (dataset.kind !== 'texts') throw new TypeError(`${name}: is a dataset of ${dataset.kind}, want texts`)
  const train = await collected(dataset.read(source, 'train'))
  const validation = await collected(dataset.read(source, 'validation'))
  if (name.startsWith('glue-')) return { ...partOf(train, 0.05, seed), test: validation }
  return { train, validation, test: await collected(dataset.read(source, 'test')) }
}
