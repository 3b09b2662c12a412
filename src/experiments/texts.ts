/** Texts classified by an encoder, which is then converted by each map: mails that are spam, and prose that is fiction. */

import { random } from '../base/random.ts'
import type { Split } from '../io/corpus.ts'
import type { Example } from '../tasks/examples.ts'
import { proseKinds } from '../tasks/prose.ts'
import { conversionCases, percentColumn, swappedColumn } from './conversion.ts'
import type { Case, Experiment, Setup } from './experiment.ts'
import {
  labelledData,
  learnedTokenizer,
  limited,
  packedTexts,
  pretrained,
  readingOf,
  smallEncoder,
  textSplit,
} from './labelled.ts'
import { dataOf } from './resources.ts'
import { chosen } from './settings.ts'

const columns = [...['acc', 'F1', 'MCC'].map(percentColumn), ...['acc', 'F1', 'MCC'].map(swappedColumn)]

const attentions = [
  'softmax',
  'hedgehog',
  't2r',
  't2r-hh',
  'elu',
  'relu',
  'performer',
  'cosformer',
  'taylor',
  'exp-1',
  'exp-2',
]

const settings = {
  length: chosen(128, 'tokens of a text at most; the rest is left out', 48),
  vocab: chosen(2048, 'token ids that are learned from the texts', 400),
  layers: chosen(2, 'blocks'),
  heads: chosen(4, 'attention heads', 2),
  width: chosen(64, 'width of the model', 32),
  batch: chosen(16, 'texts in a batch'),
  examples: chosen(0, 'texts to learn from at most; 0 means all', 2000),
  tested: chosen(0, 'texts that are measured on at most; 0 means all', 200),
  validated: chosen(0, 'texts of held-out losses at most; 0 means all', 200),
  steps: chosen(400, 'steps of training the encoder', 200),
  rate: chosen(1e-3, 'learning rate of that training', 3e-3),
  distillSteps: chosen(150, 'steps of distillation', 12),
  distillRate: chosen(1e-2, 'learning rate of distillation'),
  finetuneSteps: chosen(100, 'steps of finetuning all weights after a conversion', 12),
  finetuneRate: chosen(2e-4, 'learning rate of finetuning'),
}

const encoderText = 'an encoder from scratch whose tokenizer is learned from them, or that of --model'

export const textExperiments = {
  spam: {
    title: 'An encoder that finds spam, converted by every map',
    source: 'no published counterpart; after the conversions of arXiv 2402.04347',
    data: { kind: 'dataset', about: `mails of the SpamAssassin corpus; ${encoderText}`, datasets: ['spam'] },
    columns,
    settings,
    attentions,
    published: [],
    cases: spamCases,
  },
  prose: {
    title: 'An encoder that tells fiction from other prose, converted by every map',
    source: 'no published counterpart; after the conversions of arXiv 2402.04347',
    data: { kind: 'packaged', about: `pieces of 40 words of the Brown corpus; ${encoderText}` },
    columns,
    settings: {
      ...settings,
      length: chosen(64, 'tokens of a text at most; the rest is left out', 48),
      tested: chosen(1000, 'texts that are measured on at most; 0 means all', 200),
      validated: chosen(200, 'texts of held-out losses at most; 0 means all'),
    },
    attentions,
    published: [],
    cases: async (setup) => cases(setup, proseKinds(await setup.resources.corpus())),
  },
} as const satisfies Record<string, Experiment>

async function spamCases(setup: Setup): Promise<Case[]> {
  const source = dataOf(setup, 'spam')
  return cases(setup, source ? await textSplit('spam', source, setup.seed) : proseKinds(await setup.resources.corpus()))
}

/** Two classes of texts: an encoder learns them, and is converted. */
async function cases(setup: Setup, all: Split<Example>): Promise<Case[]> {
  const { resources, seed } = setup
  const value = setup.settings as Record<keyof typeof settings, number>
  const texts = limited(all, { train: value.examples, validation: value.validated, test: value.tested }, seed)
  const rng = random(seed).split('weights')
  const loaded = resources.model && (await pretrained(resources.model, 2, rng))
  const tokenizer =
    loaded?.tokenizer ??
    learnedTokenizer(
      texts.train.map(({ input }) => input),
      value.vocab,
    )
  const maxLength = Math.min(value.length, loaded?.model.config.maxLength ?? value.length)
  const reading = readingOf(tokenizer, maxLength)
  const { layers, heads, width } = value
  const sizes = {
    layers,
    heads,
    width,
    vocab: tokenizer.vocabSize,
    maxLength,
    task: 'classification',
    labels: 2,
  } as const
  const data = labelledData(await packedTexts(texts, reading), { padding: reading.padding })
  const { batch } = value
  return conversionCases(setup, {
    start: loaded?.model ?? smallEncoder(sizes, rng),
    data,
    metrics: { acc: 'accuracy', F1: 'f1', MCC: 'matthews' },
    teach: { batch, steps: value.steps, learningRate: value.rate },
    distill: { batch, steps: value.distillSteps, learningRate: value.distillRate },
    finetune: { batch, steps: value.finetuneSteps, learningRate: value.finetuneRate },
  })
}
