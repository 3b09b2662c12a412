/** Fidelity of distilled attention: on the kind of text that it was distilled on, on another kind, and at greater length. */

import { isDistilled, planNamed } from '../attention/plan.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { linearize } from '../convert/linearize.ts'
import { mapsLearned } from '../convert/stages.ts'
import { createInspection, meanProperties } from '../evaluate/inspection.ts'
import { batches, encodeDocuments, heldOut } from '../io/batches.ts'
import type { CorpusDocument } from '../io/corpus.ts'
import { loadTokenizer } from '../io/tokenizer.ts'
import { loadModel } from '../models/folder.ts'
import type { Model } from '../models/model.ts'
import { needsStretching, stretchPositions } from '../models/stretch.ts'
import type { CaseResult, Line } from '../report/experimentTypes.ts'
import { adamw } from '../train/optimizers.ts'
import type { Case, Experiment, Setup } from './experiment.ts'
import { chosen } from './settings.ts'

const kl = (name: string) => ({ name, unit: 'nats', better: 'lower', digits: 3 }) as const

/** Categories of the Brown corpus that are fiction; all others inform. */
const fiction = new Set(['fiction', 'mystery', 'science_fiction', 'adventure', 'romance', 'humor'])

export const fidelityExperiments = {
  fidelity: {
    title: 'Fidelity to softmax attention, on other text and at other lengths than distilled on',
    source: 'arXiv 2402.04347, fidelity and transfer; its cells could not be found',
    data: { kind: 'packaged', about: 'informative texts of the Brown corpus to distil on, its fiction as other text' },
    columns: [
      kl('KL'),
      kl('KL other'),
      kl('KL longest'),
      { name: 'entropy', unit: 'nats', better: 'lower', digits: 2 },
      { name: 'monotonicity', better: 'higher', digits: 2 },
    ],
    settings: {
      length: chosen(256, 'tokens of a sequence that is distilled on', 64),
      longest: chosen(4096, 'tokens of the longest sequence that is measured on; positions are stretched', 512),
      batch: chosen(4, 'sequences in a batch'),
      distillSteps: chosen(300, 'steps of distillation', 5),
      distillRate: chosen(3e-2, 'learning rate of distillation'),
      batches: chosen(4, 'batches of 2 sequences that are measured on, at every length', 1),
    },
    attentions: [
      'hedgehog',
      'hedgehog+half',
      'hedgehog-softmax',
      't2r-hh',
      'elu',
      'relu',
      'performer',
      'cosformer:4096',
      'taylor',
    ],
    published: [],
    cases,
  },
} as const satisfies Record<string, Experiment>

async function cases(setup: Setup): Promise<Case[]> {
  const folder = setup.resources.model ?? setup.resources.bundled
  const teacher = await loadModel(folder)
  const tokenizer = await loadTokenizer(folder)
  const corpus = await setup.resources.corpus()
  const tokens = (documents: readonly CorpusDocument[], isFiction: boolean) => {
    const texts = documents.filter(({ category }) => fiction.has(category) === isFiction).map(({ text }) => text)
    return encodeDocuments(tokenizer, texts)
  }
  const texts = {
    distilled: tokens(corpus.train, false),
    own: tokens(corpus.test, false),
    other: tokens(corpus.test, true),
  }
  return setup.attentions.map((name) => ({ name, run: () => measured(name, teacher, texts, setup) }))
}

type Texts = Readonly<Record<'distilled' | 'own' | 'other', Int32Array>>

async function* measured(name: string, teacher: Model, texts: Texts, setup: Setup): Job<CaseResult> {
  const { length, longest } = setup.settings as Record<string, number>
  const student = yield* distilledOn(texts.distilled, name, teacher, setup)
  const own = await propertiesOf(teacher, student, texts.own, length!, setup)
  const other = await propertiesOf(teacher, student, texts.other, length!, setup)
  const points: [number, number][] = []
  for (let at = length!; at < longest!; at *= 2) {
    const found = at === length ? own : await propertiesOf(teacher, student, texts.own, at, setup)
    points.push([at, found.kl])
    yield { phase: `measure ${name}`, step: at, steps: longest!, seconds: 0 }
  }
  points.push([longest!, (await propertiesOf(teacher, student, texts.own, longest!, setup)).kl])
  const lines: Line[] = [{ chart: 'KL over the length of the text', x: 'tokens', y: 'KL (nats)', points }]
  const { kl: near, entropy, monotonicity } = own
  return { values: { KL: near, 'KL other': other.kl, 'KL longest': points.at(-1)![1], entropy, monotonicity }, lines }
}

async function* distilledOn(tokens: Int32Array, name: string, teacher: Model, setup: Setup): Job<Model> {
  const { seed, settings } = setup
  const { length, batch, distillSteps, distillRate } = settings as Record<string, number>
  const student = linearize(teacher, name, random(seed).split(name))
  if (!isDistilled(planNamed(name))) return student
  const { model } = yield* mapsLearned(setup, name, student, {
    loss: 'cross-entropy',
    steps: distillSteps!,
    batches: batches(tokens, { length: length!, batch: batch!, seed }),
    optimizer: adamw({ weightDecay: 0 }),
    learningRate: distillRate!,
    schedule: 'cosine',
    scheduleOptions: { warmup: Math.ceil(distillSteps! / 10) },
  })
  return model
}

/** Means over all heads, at a length that positions are stretched to where the model has fewer. */
async function propertiesOf(teacher: Model, student: Model, tokens: Int32Array, length: number, setup: Setup) {
  const at = (model: Model) => (needsStretching(model, length) ? stretchPositions(model, length) : model)
  const inspection = createInspection(setup.device, at(teacher), { student: at(student) })
  const blocks = [...heldOut(tokens, { length, batch: length > 1024 ? 1 : 2 })].slice(0, setup.settings.batches!)
  try {
    const parts = []
    for (const { ids } of blocks) parts.push({ heads: await inspection.measure(ids), weight: 1 })
    const heads = meanProperties(parts).filter(({ name }) => name === 'student')
    const mean = (property: 'kl' | 'entropy' | 'monotonicity') =>
      heads.reduce((total, head) => total + head[property]! / heads.length, 0)
    return { kl: mean('kl'), entropy: mean('entropy'), monotonicity: mean('monotonicity') }
  } finally {
    await inspection.dispose()
  }
}
