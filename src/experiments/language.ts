/** Language models converted, and trained from scratch, attention by attention: perplexity on held-out text. */

import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { linearize } from '../convert/linearize.ts'
import { finetuned, scored } from '../convert/stages.ts'
import { trainBpe } from '../io/bpe.ts'
import type { Split } from '../io/corpus.ts'
import type { Source } from '../io/files.ts'
import { tokenizerFrom } from '../io/tokenizer.ts'
import { newModel } from '../models/families.ts'
import { gpt2 } from '../models/gpt2.ts'
import type { CaseResult, PublishedRow } from '../report/experimentTypes.ts'
import { datasets } from '../tasks/datasets.ts'
import { collected } from '../tasks/examples.ts'
import type { Case, Data, Experiment, Setup } from './experiment.ts'
import {
  klColumn,
  languageConversionCases,
  longerColumn,
  perplexityColumn,
  stageJob,
  swappedColumns,
  textsOf,
} from './languageConversion.ts'
import { chosen, published } from './settings.ts'

const trainingSettings = {
  length: published(1024, 'tokens in a sequence', 128),
  batch: published(8, 'sequences in a batch'),
  testTokens: chosen(1e9, 'tokens that perplexity is measured on at most', 8192),
  warmup: chosen(0.1, 'share of the steps in which the learning rate rises'),
}

const conversionSettings = {
  ...trainingSettings,
  distillSteps: published(28_600, 'steps of distillation: 2 epochs of WikiText-103', 20),
  distillRate: chosen(1e-2, 'learning rate of distillation'),
  updates: chosen(1, 'updates of the maps in each step of distillation'),
  finetuneSteps: chosen(28_600, 'steps of finetuning all weights', 8),
  finetuneRate: published(6e-4, 'learning rate of finetuning', 1e-4),
}

/** The recipe of `hedgehog convert`, chosen on validation text of the bundled model. */
const bundledSettings = {
  ...conversionSettings,
  length: chosen(256, 'tokens in a sequence', 64),
  testTokens: chosen(65_536, 'tokens that perplexity is measured on at most', 4096),
  distillSteps: chosen(450, 'steps of distillation', 10),
  distillRate: chosen(3e-2, 'learning rate of distillation'),
  finetuneSteps: chosen(60, 'steps of finetuning all weights', 4),
  finetuneRate: chosen(1e-4, 'learning rate of finetuning'),
}

/** Short enough for a CPU, and too short for Hedgehog to come near softmax: docs/results/smollm2.md has what it came to. */
const adapterSettings = {
  ...trainingSettings,
  length: chosen(512, 'tokens in a sequence', 64),
  longer: chosen(1024, 'tokens in the longer sequences that perplexity is measured on besides', 128),
  batch: chosen(1, 'sequences in a batch', 2),
  testTokens: chosen(4096, 'tokens that perplexity is measured on at most', 1024),
  validations: chosen(2, 'held-out losses while a stage runs'),
  part: chosen(1, '1 measures on the test documents, 0 on the validation documents, to choose by'),
  compared: chosen(1, 'batches of 2 sequences that attention weights are compared on'),
  distillSteps: chosen(160, 'steps of distillation', 4),
  distillRate: chosen(1e-2, 'learning rate of distillation'),
  updates: chosen(1, 'updates of the maps in each step of distillation'),
  finetuneSteps: chosen(32, 'steps in which only LoRA and the maps learn', 2),
  finetuneRate: chosen(1e-3, 'learning rate of LoRA'),
  rank: published(8, 'rank of LoRA'),
  alpha: published(16, 'scale of LoRA'),
}

const scratchSettings = {
  ...trainingSettings,
  layers: published(12, 'blocks', 2),
  heads: published(12, 'attention heads', 2),
  width: published(768, 'width of the model', 64),
  vocab: chosen(50_257, 'token ids of a tokenizer that is learned from the text', 512),
  finetuneSteps: chosen(100_000, 'steps of training', 20),
  finetuneRate: published(6e-4, 'learning rate', 1e-3),
}

const perplexities = (values: Readonly<Record<string, number>>, note?: string): PublishedRow[] =>
  Object.entries(values).map(([name, perplexity]) => ({ name, values: { perplexity }, ...(note && { note }) }))

const wikitext: Data = { kind: 'dataset', about: 'WikiText-103', datasets: ['wikitext-103-raw'] }
const brown: Data = { kind: 'packaged', about: 'the Brown corpus, and the model that comes with the package' }

export const languageExperiments = {
  'gpt2-wikitext': {
    title: 'GPT-2 (125M) converted on WikiText-103',
    source: 'arXiv 2402.04347, pretrained-conversion',
    data: wikitext,
    columns: [perplexityColumn, klColumn],
    settings: conversionSettings,
    attentions: ['t2r', 'hedgehog'],
    published: perplexities({ 'zero-shot': 28.0, softmax: 15.8, t2r: 19.4, hedgehog: 16.7, hyena: 18.5, h3: 18.5 }),
    cases: (setup) => conversionCases(setup, 'wikitext'),
  },
  'brown-maps': {
    title: 'The bundled model converted by every map, on the Brown corpus',
    source: 'no published counterpart',
    data: brown,
    columns: [perplexityColumn, klColumn],
    settings: bundledSettings,
    attentions: [
      'hedgehog',
      'hedgehog+half',
      'hedgehog-softmax',
      'hedgehog-untrained',
      't2r-hh',
      't2r',
      'elu',
      'relu',
      'exp-1',
      'exp-2',
      'performer',
      'cosformer',
      'taylor',
      'rebased',
      'hybrid:32',
      'window:32:4',
      'top-k:32',
      'none',
    ],
    published: [],
    cases: (setup) => conversionCases(setup, 'packaged'),
  },
  smollm2: {
    title: 'SmolLM2-135M-Instruct converted with LoRA, on the Brown corpus',
    source: 'no published counterpart; after the conversion with LoRA of arXiv 2402.04347',
    data: { kind: 'packaged', about: 'the Brown corpus; the model of --model' },
    columns: [perplexityColumn, longerColumn, klColumn, ...swappedColumns],
    settings: adapterSettings,
    attentions: ['hedgehog', 'window:64:4', 'hedgehog-untrained', 't2r', 'elu', 'hybrid:64', 'hybrid:64:4'],
    published: [],
    cases: adapterCases,
  },
  'wikitext-scratch': {
    title: 'A 125M language model from scratch on WikiText-103',
    source: 'arXiv 2402.04347, training from scratch',
    data: wikitext,
    columns: [perplexityColumn],
    settings: scratchSettings,
    attentions: ['softmax', 'elu', 'performer', 'hedgehog'],
    published: perplexities({ softmax: 18.6, elu: 25.6, performer: 26.8, hedgehog: 20.8 }, 'derived from the abstract'),
    cases: scratchCases,
  },
} as const satisfies Record<string, Experiment>

/** The text of an experiment: WikiText from --data, or the packaged corpus where it is quick or asks for no other. */
async function textOf({ quick, resources }: Setup, needsData: boolean): Promise<Split<string>> {
  if (!needsData || (quick && !resources.data)) return textsOf(await resources.corpus())
  const dataset = datasets['wikitext-103-raw']
  if (!resources.data) {
    throw new Error(`--data: is missing, want the folder ${dataset.folder} of ${dataset.url}`)
  }
  const source = resources.data
  const split = (name: string) => collected(dataset.read(source, name))
  return { train: await split('train'), validation: await split('validation'), test: await split('test') }
}

/** A pretrained model: as it is, finetuned as it is, and converted to each attention with the same finetuning. */
async function conversionCases(setup: Setup, data: 'wikitext' | 'packaged'): Promise<Case[]> {
  const needsData = data === 'wikitext'
  const bundled = !setup.resources.model && (setup.quick || !needsData)
  const model: Source | undefined = setup.resources.model ?? (bundled ? setup.resources.bundled : undefined)
  if (!model) throw new Error('--model: is missing, want the folder of https://huggingface.co/openai-community/gpt2')
  return languageConversionCases(setup, { model, texts: await textOf(setup, needsData) })
}

/** A chat model on English text, with an adapter; in a quick run the bundled model in its place. */
async function adapterCases(setup: Setup): Promise<Case[]> {
  const { quick, resources, settings } = setup
  const model = resources.model ?? (quick ? resources.bundled : undefined)
  if (!model)
    throw new Error(
      '--model: is missing, want .cache/models/smollm2-135m-instruct, which scripts/fetch-models.ts makes',
    )
  const { rank, alpha, longer, part } = settings as Record<keyof typeof adapterSettings, number>
  const texts = textsOf(await resources.corpus())
  return languageConversionCases(setup, {
    model,
    texts: part === 0 ? { ...texts, test: texts.validation } : texts,
    lora: { rank, alpha },
    // The squared error of the outputs drowns it in the middle layers: docs/results/smollm2.md.
    loss: 'cross-entropy',
    untuned: ['hedgehog-untrained', 'window:64:4'],
    swapped: true,
    longer,
    prompts: ['The old house by the river', 'Question: What is the capital of France?\nAnswer:'],
  })
}

/** A model from scratch for each attention, with the same initial weights and the same batches. */
async function scratchCases(setup: Setup): Promise<Case[]> {
  const value = setup.settings as Record<string, number>
  const text = await textOf(setup, true)
  const tokenizer = tokenizerFrom(trainBpe(text.train, { vocabSize: value.vocab! }))
  const job = stageJob(setup, text, tokenizer)
  const { layers, heads, width, length } = value as Record<'layers' | 'heads' | 'width' | 'length', number>
  const config = gpt2.configOf({ layers, heads, width, vocab: tokenizer.vocabSize, maxLength: length })
  return setup.attentions.map((name) => ({
    name,
    async *run(): Job<CaseResult> {
      const plain = newModel(config, random(setup.seed).split('weights'))
      const model = linearize(plain, name, random(setup.seed).split('maps'))
      const { perplexity } = yield* scored(job, name, (yield* finetuned(job, name, model)).model)
      return { values: { perplexity } }
    },
  }))
}
