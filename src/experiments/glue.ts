/** GLUE: BERT finetuned on each of its tasks, then converted by each attention. */

import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import type { CorpusDocument, Split } from '../io/corpus.ts'
import { type Source, subfolder } from '../io/files.ts'
import type { MetricName } from '../metrics/metrics.ts'
import type { CaseResult, Column } from '../report/experimentTypes.ts'
import { type DatasetName, datasets } from '../tasks/datasets.ts'
import type { Example } from '../tasks/examples.ts'
import { proseKinds, prosePairs } from '../tasks/prose.ts'
import { type Conversion, conversionCases, conversionRow, percentColumn, swappedColumn } from './conversion.ts'
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
import { dataOf, modelOf } from './resources.ts'
import { chosen } from './settings.ts'

interface GlueTask {
  readonly dataset: DatasetName
  readonly metric: MetricName
  /** Texts in its place where the release is not at hand. */
  readonly made: (corpus: Split<CorpusDocument>) => Split<Example>
}

/** The tasks that the paper reports, by the names of their columns, with the metric that is usual for each. */
const glueTasks = {
  CoLA: { dataset: 'glue-cola', metric: 'matthews', made: proseKinds },
  SST2: { dataset: 'glue-sst2', metric: 'accuracy', made: proseKinds },
  MRPC: { dataset: 'glue-mrpc', metric: 'f1', made: (corpus) => prosePairs(corpus, 'document') },
  STSB: { dataset: 'glue-stsb', metric: 'pearson', made: (corpus) => prosePairs(corpus, 'overlap') },
  QQP: { dataset: 'glue-qqp', metric: 'accuracy', made: (corpus) => prosePairs(corpus, 'document') },
  MNLI: { dataset: 'glue-mnli-matched', metric: 'accuracy', made: (corpus) => prosePairs(corpus, 'relation') },
  QNLI: { dataset: 'glue-qnli', metric: 'accuracy', made: (corpus) => prosePairs(corpus, 'document') },
  RTE: { dataset: 'glue-rte', metric: 'accuracy', made: (corpus) => prosePairs(corpus, 'document') },
} as const satisfies Readonly<Record<string, GlueTask>>

type TaskName = keyof typeof glueTasks

const taskNames = Object.keys(glueTasks) as TaskName[]

/** Finetuning as in the examples of Hugging Face's transformers; what the paper did could not be found. */
const settings = {
  length: chosen(128, 'tokens of a text, or of two, at most', 64),
  batch: chosen(32, 'texts in a batch', 16),
  epochs: chosen(3, 'passes over the texts that finetune the model before it is converted', 1),
  rate: chosen(2e-5, 'learning rate of that finetuning', 3e-3),
  dropout: chosen(0.1, 'share of activations that are dropped while all weights learn', 0),
  distillSteps: chosen(1000, 'steps of distillation', 8),
  distillRate: chosen(1e-2, 'learning rate of distillation'),
  finetuneEpochs: chosen(3, 'passes over the texts after a conversion', 0.5),
  finetuneRate: chosen(2e-5, 'learning rate after a conversion', 1e-3),
  examples: chosen(0, 'texts to learn from at most; 0 means all', 320),
  validated: chosen(500, 'texts that curves are measured on', 32),
  tested: chosen(0, 'texts that are measured on at most; 0 means all', 100),
}

/** One task alone has more time when it is quick. */
const alone = {
  epochs: chosen(settings.epochs.value, settings.epochs.meaning, 2),
  examples: chosen(settings.examples.value, settings.examples.meaning, 2000),
  tested: chosen(settings.tested.value, settings.tested.meaning, 200),
}

const columnsOfTasks: readonly Column[] = taskNames.map(percentColumn)

const row = (name: string, scores: readonly number[], note?: string) => {
  const values = Object.fromEntries(taskNames.map((task, i) => [task, scores[i]!]))
  return { name, values, ...(note && { note }) }
}

const matthews = (name: string, Matthews: number, note?: string) => ({
  name,
  values: { Matthews },
  ...(note && { note }),
})

const bertUrl = 'https://huggingface.co/google-bert/bert-base-uncased'
const reprinted = 'as re-printed elsewhere'

export const glueExperiments = {
  'bert-cola': {
    title: 'BERT-base finetuned on CoLA, then converted by each map',
    source: 'arXiv 2402.04347, finetuned-conversion',
    data: { kind: 'dataset', about: 'CoLA: is a sentence grammatical', datasets: ['glue-cola'] },
    columns: [percentColumn('Matthews'), swappedColumn('Matthews')],
    settings: { ...settings, ...alone },
    attentions: ['softmax', 'elu', 'relu', 'performer', 'cosformer', 'exp-1', 'exp-2', 'taylor', 'hedgehog'],
    published: [
      matthews('softmax', 58.8),
      matthews('elu', 28.1),
      matthews('relu', 39.5),
      matthews('performer', 24.7),
      matthews('cosformer', 39.9),
      matthews('exp-1', 45.9),
      matthews('exp-2', 50.0),
      matthews('taylor', 58.4),
      matthews('hedgehog', 59.2, reprinted),
    ],
    cases: colaCases,
  },
  glue: {
    title: 'BERT-base finetuned on each task of GLUE, then converted',
    source: 'arXiv 2402.04347, finetuned-conversion',
    data: {
      kind: 'dataset',
      about: 'the eight tasks, each a folder in the one of --data, measured on their development parts',
      datasets: taskNames.map((task) => glueTasks[task].dataset),
    },
    columns: [...columnsOfTasks, percentColumn('mean'), swappedColumn('mean')],
    settings,
    attentions: ['softmax', 't2r', 't2r-hh', 'hedgehog'],
    published: [
      row('softmax', [58.8, 93.2, 90.2, 88.8, 91.0, 84.7, 91.3, 68.2]),
      row('hedgehog', [59.2, 92.6, 90.1, 87.4, 91.0, 82.6, 89.6, 69.3], reprinted),
    ],
    cases: glueCases,
  },
} as const satisfies Record<string, Experiment>

async function colaCases(setup: Setup): Promise<Case[]> {
  const model = modelOf(setup, bertUrl)
  const texts = await textsOf(setup, 'CoLA', dataOf(setup, 'glue-cola'))
  const task = { ...glueTasks.CoLA, column: 'Matthews' }
  return conversionCases(setup, await conversionOf(setup, task, texts, model))
}

async function glueCases(setup: Setup): Promise<Case[]> {
  const model = modelOf(setup, bertUrl)
  const source = glueFolder(setup)
  const texts = new Map<TaskName, Split<Example>>()
  for (const task of taskNames) {
    texts.set(task, await textsOf(setup, task, source && subfolder(source, datasets[glueTasks[task].dataset].folder)))
  }
  return setup.attentions.map((name) => ({
    name,
    async *run(): Job<CaseResult> {
      const found: CaseResult[] = []
      for (const task of taskNames) {
        const described = { ...glueTasks[task], column: 'score' }
        const conversion = await conversionOf(setup, described, texts.get(task)!, model)
        found.push(yield* conversionRow(setup, task, name, conversion))
      }
      const mean = (column: string) => found.reduce((sum, { values }) => sum + values[column]! / found.length, 0)
      const scores = taskNames.map((task, i) => [task, found[i]!.values.score!] as const)
      return { values: { ...Object.fromEntries(scores), mean: mean('score'), 'raw mean': mean('raw score') } }
    },
  }))
}

function glueFolder({ quick, resources }: Setup): Source | undefined {
  if (resources.data || quick) return resources.data
  const parts = taskNames.map((task) => datasets[glueTasks[task].dataset])
  const wanted = parts.map(({ folder, url }) => `${folder} (${url})`).join(', ')
  throw new Error(`--data: is missing, want a folder with the folders ${wanted}`)
}

/** The texts of a task, as many as the settings allow. */
async function textsOf(setup: Setup, task: TaskName, source: Source | undefined): Promise<Split<Example>> {
  const { examples, validated, tested } = setup.settings as Record<keyof typeof settings, number>
  const { dataset, made } = glueTasks[task]
  const all = source ? await textSplit(dataset, source, setup.seed) : made(await setup.resources.corpus())
  return limited(all, { train: examples, validation: validated, test: tested }, setup.seed)
}

/** The encoder that is trained where none is given: only to show that all runs. */
const quickSizes = { layers: 2, heads: 2, width: 32, vocab: 400 }

async function conversionOf(
  setup: Setup,
  { dataset, metric, column }: Pick<GlueTask, 'dataset' | 'metric'> & { readonly column: string },
  texts: Split<Example>,
  folder: Source | undefined,
): Promise<Conversion> {
  const value = setup.settings as Record<keyof typeof settings, number>
  const classes = datasets[dataset].classes.length
  const rng = random(setup.seed).split('weights')
  const loaded = folder && (await pretrained(folder, classes, rng))
  const tokenizer =
    loaded?.tokenizer ??
    learnedTokenizer(
      texts.train.map(({ input }) => input),
      quickSizes.vocab,
    )
  const maxLength = Math.min(value.length, loaded?.model.config.maxLength ?? value.length)
  const reading = readingOf(tokenizer, maxLength)
  const task =
    classes === 0 ? ({ task: 'regression' } as const) : ({ task: 'classification', labels: classes } as const)
  const sizes = { ...quickSizes, vocab: tokenizer.vocabSize, maxLength, ...task }
  const labels = classes === 0 ? 'values' : 'classes'
  const data = labelledData(await packedTexts(texts, reading), { padding: reading.padding, labels })
  const { batch, dropout } = value
  const recipe = { batch, dropout, schedule: 'linear' } as const
  const steps = (epochs: number) => Math.max(1, Math.ceil((epochs * data.examples) / batch))
  return {
    start: loaded?.model ?? smallEncoder(sizes, rng),
    data,
    metrics: { [column]: metric },
    teach: { ...recipe, steps: steps(value.epochs), learningRate: value.rate },
    distill: { batch, steps: value.distillSteps, learningRate: value.distillRate },
    finetune: { ...recipe, steps: steps(value.finetuneEpochs), learningRate: value.finetuneRate },
  }
}
