/** Recall from scratch: small decoders that must give back the value that came with a key. */

import type { AttentionPlan } from '../attention/plan.ts'
import { floats, type Params } from '../base/array.ts'
import type { Job } from '../base/progress.ts'
import { type Random, random } from '../base/random.ts'
import { linearize } from '../convert/linearize.ts'
import { tokenAccuracy } from '../evaluate/accuracy.ts'
import { createBackward } from '../execute/backward.ts'
import { createForward } from '../execute/forward.ts'
import type { Batch } from '../execute/objective.ts'
import { newModel, paramSpecs } from '../models/families.ts'
import { gpt2 } from '../models/gpt2.ts'
import type { Model } from '../models/model.ts'
import type { CaseResult } from '../report/experimentTypes.ts'
import { checkSizes, draws, heldOutDraws } from '../tasks/draws.ts'
import { associativeRecall, multiQueryRecall } from '../tasks/recall.ts'
import { adamw } from '../train/optimizers.ts'
import { runStage, type StageHost } from '../train/stage.ts'
import { train } from '../train/train.ts'
import type { Experiment, Setting, Setup } from './experiment.ts'
import { chosen, published } from './settings.ts'

const modelSettings = {
  layers: published(2, 'blocks'),
  heads: published(1, 'attention heads'),
  width: chosen(64, 'width of the model and of its feed-forward layers', 32),
  steps: chosen(8000, 'steps of one training at most', 120),
  batch: chosen(32, 'sequences in a batch'),
  fastest: chosen(2e-3, 'the first learning rate that is tried'),
  rates: chosen(1, 'learning rates that are tried, each half of the last, until one solves the task'),
  decay: chosen(1, 'whether the learning rate falls to 0 along a cosine (1) or stays (0)'),
  warmup: chosen(100, 'steps in which the learning rate rises', 10),
  window: chosen(0, 'tokens that the first layer attends to, by softmax; 0: it has the attention that is compared'),
  positions: chosen(1, 'whether position embeddings are learned (1) or stay 0'),
  enough: published(0.99, 'accuracy that ends a training'),
} as const satisfies Record<string, Setting>

/** Draws a batch with the settings of an experiment; `held` for one that is measured on. */
export type RecallDraw = (settings: Readonly<Record<string, number>>, rng: Random, held: boolean) => Batch

/** A kind of recall, as what it takes to make an experiment of it. */
export interface RecallTask {
  readonly title: string
  readonly source: string
  readonly about: string
  readonly settings: Readonly<Record<string, Setting>>
  readonly published: Experiment['published']
  readonly draw: RecallDraw
}

function recallExperiment({ title, source, about, settings, published: known, draw }: RecallTask): Experiment {
  return {
    title,
    source,
    data: { kind: 'generated', about },
    columns: [
      { name: 'accuracy', unit: '%', better: 'higher', digits: 1 },
      { name: 'steps', better: 'lower', digits: 0 },
    ],
    settings: { ...modelSettings, ...settings },
    attentions: ['softmax', 'hedgehog', 'taylor', 'elu', 'relu', 'performer', 'cosformer'],
    published: known,
    async cases(setup) {
      checkSettings(setup.settings)
      return setup.attentions.map((name) => ({ name, run: () => trained(name, setup, draw) }))
    },
  }
}

const flags = ['decay', 'positions', 'filler']

/** @throws RangeError for settings of which no model can be made, or that leave nothing to compare. */
function checkSettings(settings: Setup['settings']): void {
  const { layers, heads, width, window } = settings as Record<string, number>
  checkSizes('recall', 1, { layers: layers!, heads: heads!, width: width! })
  checkSizes('recall', 0, { window: window! })
  if (width! % heads! !== 0) throw new RangeError(`recall: got heads ${heads}, want a divisor of the width ${width}`)
  if (window! > 0 && layers! < 2)
    throw new RangeError('recall: got layers 1 with a window in the first, want at least 2')
  const flag = flags.find((name) => name in settings && settings[name] !== 0 && settings[name] !== 1)
  if (flag) throw new RangeError(`recall: got ${flag} ${settings[flag]}, want 0 or 1`)
}

/** Trains at one learning rate after the other until the task is solved; the best is what counts. */
async function* trained(name: string, setup: Setup, draw: RecallDraw): Job<CaseResult> {
  let best: { accuracy: number; steps: number; rate: number; points: [number, number][] } | undefined
  for (let i = 0; i < setup.settings.rates!; i++) {
    const rate = setup.settings.fastest! / 2 ** i
    const found = yield* trainedAt(name, rate, setup, draw)
    if (!best || found.accuracy > best.accuracy) best = { ...found, rate }
    if (best.accuracy >= setup.settings.enough!) break
  }
  const { accuracy, steps, rate, points } = best!
  return {
    values: { accuracy: 100 * accuracy, steps },
    lines: [{ chart: 'Accuracy while it learns', x: 'step', y: '%', points }],
    note: `learning rate ${rate}`,
  }
}

/** Held-out sequences that the accuracy is measured on. */
const heldOutSequences = 256

/** What a training on recall is run with. */
export type RecallSetup = Pick<Setup, 'device' | 'settings' | 'seed' | keyof StageHost>

/**
 * Trains a small decoder from scratch with an attention; progress has the share of held-out answers that are wrong as
 * `validationLoss`, about 24 times.
 */
export async function* trainedAt(name: string, rate: number, setup: RecallSetup, draw: RecallDraw) {
  const { device, settings, seed } = setup
  const { layers, heads, width, vocab, length, steps, batch, warmup, enough, positions } = settings as Record<
    string,
    number
  >
  const plain = newModel(
    gpt2.configOf({ layers: layers!, heads: heads!, width: width!, inner: width!, vocab: vocab!, maxLength: length! }),
    random(seed).split('weights'),
  )
  const start = startOf(plain, name, setup)
  const held = heldOutDraws((rng) => draw(settings, rng, true), { seed, batches: Math.ceil(heldOutSequences / batch!) })
  const forward = createForward(device, start.config)
  const objective = createBackward(device, start.config)
  const accuracy = (params: Params) => tokenAccuracy(forward, params, held)
  try {
    const done = yield* runStage(setup, `${name}-${rate}`.replaceAll('/', '_'), 'train', (run) =>
      train(objective, start.params, {
        ...run,
        steps: steps!,
        batches: draws((rng) => draw(settings, rng, false), { seed }),
        optimizer: adamw({ weightDecay: 0, beta2: 0.98 }),
        learningRate: rate,
        schedule: settings.decay ? 'cosine' : 'constant',
        scheduleOptions: { warmup: Math.min(warmup!, steps!) },
        trains: (path) => positions !== 0 || path !== positionTable,
        validate: {
          every: Math.max(1, Math.floor(steps! / 24)),
          loss: async (params) => 1 - (await accuracy(params)),
          enough: 1 - enough!,
        },
      }),
    )
    const points = done.curve.flatMap(({ step, validationLoss }): [number, number][] =>
      validationLoss === undefined ? [] : [[step, 100 * (1 - validationLoss)]],
    )
    return { accuracy: await accuracy(done.params), steps: done.step, points }
  } finally {
    await forward.dispose()
    await objective.dispose()
  }
}

const positionTable = 'wpe.weight'

/** The model before training: a name's attention in the layers that are compared, and weights of a size to learn from. */
function startOf(plain: Model, name: string, { settings, seed }: Pick<Setup, 'settings' | 'seed'>): Model {
  const { window, width, positions } = settings as Record<string, number>
  const { config, params } = linearize(plain, name, random(seed).split('maps'))
  const near: AttentionPlan = { kind: 'window', window: window!, sinks: 0 }
  const mixed = { ...config, attention: config.attention.map((plan, layer) => (window && layer === 0 ? near : plan)) }
  const own = widened(params, width!)
  const known = Object.fromEntries(Object.keys(paramSpecs(mixed)).map((path) => [path, own[path]!]))
  const table = known[positionTable]!
  const unplaced = { [positionTable]: floats(table.shape, new Float32Array(table.data.length)) }
  return { config: mixed, params: positions ? known : { ...known, ...unplaced } }
}

/**
 * Embeddings, queries and keys that begin at 1/√width, other matrices at 0.4/√width: GPT-2's 0.02 is for a width of 768, and
 * leaves the attention of a small model flat for thousands of steps.
 */
function widened(params: Params, width: number): Params {
  return Object.fromEntries(
    Object.entries(params).map(([path, array]) => {
      if (!/^w[tp]e\.weight$|c_(attn|proj|fc)\.weight$/.test(path)) return [path, array]
      // Of the joined projection, queries and keys are the first two thirds of each row.
      const isWide = path.endsWith('c_attn.weight')
        ? (i: number) => i % (3 * width) < 2 * width
        : () => /^w[tp]e/.test(path)
      const root = Math.sqrt(array.data.reduce((sum, x) => sum + x * x, 0) / array.data.length)
      const scale = 1 / (Math.sqrt(width) * root)
      return [path, { ...array, data: array.data.map((x, i) => x * scale * (isWide(i) ? 1 : 0.4)) }]
    }),
  )
}

const multiQuery = (length: number, pairs: number): Experiment =>
  recallExperiment({
    title: `Multi-query associative recall, ${length} tokens with ${pairs} pairs`,
    source: 'Zoology, arXiv 2312.04927',
    about: `${pairs} pairs of 8192 ids, each key asked for once in ${length} tokens`,
    settings: {
      heads: chosen(4, 'attention heads, where Zoology has 1; features of narrow heads differ more at the start'),
      window: chosen(2, 'tokens that the first layer attends to, by softmax, where Zoology has a convolution of 3'),
      positions: chosen(0, 'whether position embeddings are learned (1), as by softmax in Zoology, or stay 0'),
      filler: published(0, 'what stands between the queries: id 0 (0) or random ids (1)'),
      vocab: published(8192, 'token ids', 64),
      length: published(length, 'tokens in a sequence', 32),
      // A quick training is as wide as a whole one, and of sequences that are learned in as few steps.
      width: { ...modelSettings.width, quick: modelSettings.width.value },
      steps: { ...modelSettings.steps, quick: 300 },
      pairs: published(pairs, 'pairs in a sequence'),
    },
    published: [],
    draw: ({ batch, length: tokens, pairs: count, vocab, filler }, rng) =>
      multiQueryRecall(
        { batch: batch!, length: tokens!, pairs: count!, vocab: vocab!, filler: filler ? 'random' : 'zero' },
        rng,
      ),
  })

const solved = (name: string) => ({ name, values: { accuracy: 100 } })
const failed = (name: string) => ({ name, values: { accuracy: 17 } })

/** Recall in short sequences of few ids: solved in minutes where an attention can do it at all. */
export const smallRecall: RecallTask = {
  title: 'Associative recall',
  source: 'arXiv 2402.04347, associative recall',
  about: 'keys and values of a small vocabulary, learned from each value that came before, measured on the last',
  settings: {
    vocab: chosen(20, 'token ids: 9 keys, 9 values, a mark'),
    length: chosen(16, 'tokens in a sequence'),
    batch: chosen(64, 'sequences in a batch', 32),
    steps: chosen(4000, 'steps of one training at most', 120),
    decay: chosen(0, 'whether the learning rate falls to 0 along a cosine (1) or stays (0)'),
  },
  published: [...['softmax', 'taylor', 'hedgehog'].map(solved), ...['elu', 'performer', 'cosformer'].map(failed)],
  draw: ({ batch, length, vocab }, rng, held) =>
    associativeRecall({ batch: batch!, length: length!, vocab: vocab!, loss: held ? 'answer' : 'values' }, rng),
}

export const recallExperiments = {
  'associative-recall': recallExperiment(smallRecall),
  'mqar-64-4': multiQuery(64, 4),
  'mqar-128-8': multiQuery(128, 8),
}
