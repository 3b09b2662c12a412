/** Language models converted, and trained from scratch, attention by attention: perplexity on held-out text. */

import { isDistilled, planNamed } from '../attention/plan.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { linearize } from '../convert/linearize.ts'
import { distilled, finetuned, idle, type StageJob, scored } from '../convert/stages.ts'
import { fidelity } from '../evaluate/fidelity.ts'
import { encodeDocuments, heldOut } from '../io/batches.ts'
import { trainBpe } from '../io/bpe.ts'
import type { CorpusDocument, Split } from '../io/corpus.ts'
import type { Source } from '../io/files.ts'
import { loadTokenizer, type Tokenizer, tokenizerFrom } from '../io/tokenizer.ts'
import { newModel } from '../models/families.ts'
import { loadModel } from '../models/folder.ts'
import { gpt2 } from '../models/gpt2.ts'
import type { Model } from '../models/model.ts'
import type { CaseResult, Column, PublishedRow } from '../report/experimentTypes.ts'
import { datasets } from '../tasks/datasets.ts'
import { collected } from '../tasks/examples.ts'
import type { Case, Data, Experiment, Setup } from './experiment.ts'
import { chosen, published } from './settings.ts'

const perplexityColumn: Column = { name: 'perplexity', better: 'lower', digits: 2 }
const klColumn: Column = { name: 'KL', unit: 'nats', better: 'lower', digits: 3 }

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

/** The texts of documents. */
function textsOf({ train, validation, test }: Split<CorpusDocument>): Split<string> {
  const texts = (documents: readonly CorpusDocument[]) => documents.map(({ text }) => text)
  return { train: texts(train), validation: texts(validation), test: texts(test) }
}

type Tokens = Readonly<Record<keyof Split<string>, Int32Array>>

function encoded({ train, validation, test }: Split<string>, tokenizer: Tokenizer): Tokens {
  const tokens = (texts: readonly string[]) => encodeDocuments(tokenizer, texts)
  return { train: tokens(train), validation: tokens(validation), test: tokens(test) }
}

function stageJob(setup: Setup, tokens: Tokens): StageJob {
  const { settings, seed, device, clock, signal, store } = setup
  const value = settings as Record<string, number>
  const { train: trainTokens, validation: validationTokens, test: testTokens } = tokens
  const recipe = { length: value.length!, batch: value.batch!, seed, adamw: { weightDecay: 0 } }
  const phase = (steps: number, learningRate: number) => ({
    ...recipe,
    steps,
    learningRate,
    scheduleOptions: { warmup: Math.ceil(steps * value.warmup!) },
    validateEvery: Math.max(1, Math.ceil(steps / 5)),
  })
  const { distillSteps = 0, distillRate = 1, finetuneSteps = 0, finetuneRate = 1, testTokens: most = 1 } = value
  return {
    ...{ device, seed, clock, trainTokens, validationTokens },
    testTokens: testTokens.subarray(0, most + 1),
    distill: { ...phase(distillSteps, distillRate), batch: Math.ceil(recipe.batch / 2), loss: 'both' },
    finetune: phase(finetuneSteps, finetuneRate),
    ...(signal && { signal }),
    ...(store && { store }),
  }
}

/** A pretrained model: as it is, finetuned as it is, and converted to each attention with the same finetuning. */
async function conversionCases(setup: Setup, data: 'wikitext' | 'packaged'): Promise<Case[]> {
  const needsData = data === 'wikitext'
  const bundled = !setup.resources.model && (setup.quick || !needsData)
  const folder: Source | undefined = setup.resources.model ?? (bundled ? setup.resources.bundled : undefined)
  if (!folder) throw new Error('--model: is missing, want the folder of https://huggingface.co/openai-community/gpt2')
  const text = await textOf(setup, needsData)
  const teacher = await loadModel(folder)
  const tokenizer = await loadTokenizer(folder)
  const job = stageJob(setup, encoded(text, tokenizer))
  const measured = async function* (name: string, model: Model): Job<CaseResult> {
    const { perplexity } = yield* scored(job, name, model)
    // Without attention there are no weights to compare.
    if (name === 'none') return { values: { perplexity } }
    const ids = [...heldOut(job.testTokens, { length: job.finetune.length, batch: 2 })].slice(0, 4)
    const heads = await fidelity(
      job.device,
      teacher,
      model,
      ids.map((batch) => batch.ids),
      { stream: 'student' },
    )
    const kl = heads.reduce((total, head) => total + head.kl, 0) / heads.length
    return { values: { perplexity, KL: kl } }
  }
  const converted = async function* (name: string): Job<CaseResult> {
    const swapped = linearize(teacher, name, random(setup.seed).split(name))
    const own = isDistilled(planNamed(name)) ? yield* distilled(job, name, swapped) : idle(swapped)
    return yield* measured(name, (yield* finetuned(job, name, own.model)).model)
  }
  return [
    { name: 'zero-shot', run: () => measured('zero-shot', teacher) },
    {
      name: 'softmax',
      run: async function* () {
        return yield* measured('softmax', (yield* finetuned(job, 'softmax', teacher)).model)
      },
    },
    ...setup.attentions.map((name) => ({ name, run: () => converted(name) })),
  ]
}

/** A model from scratch for each attention, with the same initial weights and the same batches. */
async function scratchCases(setup: Setup): Promise<Case[]> {
  const value = setup.settings as Record<string, number>
  const text = await textOf(setup, true)
  const tokenizer = tokenizerFrom(trainBpe(text.train, { vocabSize: value.vocab! }))
  const job = stageJob(setup, encoded(text, tokenizer))
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
