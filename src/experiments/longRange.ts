/** The Long Range Arena: encoders trained from scratch by each attention on long sequences of tokens. */

import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { linearize } from '../convert/linearize.ts'
import type { Split } from '../io/corpus.ts'
import type { CaseResult } from '../report/experimentTypes.ts'
import { type PackedExample, packExamples } from '../tasks/batches.ts'
import { type DatasetName, datasets } from '../tasks/datasets.ts'
import type { Example } from '../tasks/examples.ts'
import { drawnGratings } from '../tasks/gratings.ts'
import { listOps } from '../tasks/listops.ts'
import { packing } from '../tasks/pack.ts'
import { proseKinds, prosePairs } from '../tasks/prose.ts'
import { type LabelledData, learned, percent, predicted } from './classifier.ts'
import { heldOutLine, percentColumn } from './conversion.ts'
import type { Case, Experiment, Setting, Setup } from './experiment.ts'
import { labelledData, limited, partOf, smallEncoder } from './labelled.ts'
import { dataOf } from './resources.ts'
import { chosen, published } from './settings.ts'

type Sequences = Split<Example<Uint8Array>>

interface ArenaTask {
  readonly dataset: DatasetName
  readonly title: string
  readonly about: string
  readonly settings: Readonly<Record<string, Setting>>
  /** Accuracy of Hedgehog in percent, as re-printed elsewhere. */
  readonly hedgehog: number
  /** Sequences that are there without the release. */
  made(setup: Setup): Promise<Sequences>
  /** Whether those are the task itself, and not only something to show that it runs on. */
  readonly isGenerated?: boolean
}

/** Sizes and training; those published are of the benchmark's own Transformer (`lra_benchmarks/…/configs`). */
interface ArenaSizes {
  readonly length: Setting
  readonly layers: number
  readonly heads: number
  readonly width: number
  readonly inner: number
  readonly steps: number
  readonly batch: number
  readonly rate: Setting
  readonly warmup: number
  readonly decay: number
  readonly dropout: Setting
}

function arenaSettings(sizes: ArenaSizes): Readonly<Record<string, Setting>> {
  const { length, layers, heads, width, inner, steps, batch, rate, warmup, decay, dropout } = sizes
  return {
    length,
    layers: published(layers, 'blocks', 1),
    heads: published(heads, 'attention heads', 2),
    width: published(width, 'width of the model', 32),
    inner: published(inner, 'width of the feed-forward layers', 64),
    batch: published(batch, 'sequences in a batch', 16),
    steps: published(steps, 'steps of training', 100),
    rate,
    warmup: published(warmup, 'steps in which the learning rate rises; afterwards it falls by a cosine', 5),
    decay: published(decay, 'weight decay'),
    dropout,
    examples: chosen(0, 'sequences to learn from at most; 0 means all', 400),
    validated: chosen(500, 'sequences that curves are measured on', 50),
    tested: chosen(0, 'sequences that accuracy is measured on at most; 0 means all', 100),
  }
}

const attentions = ['softmax', 'hedgehog', 'taylor', 'elu', 'relu', 'performer', 'cosformer']

function arena(task: ArenaTask): Experiment {
  const { dataset, title, about, settings, hedgehog, isGenerated } = task
  return {
    title: `${title}, from scratch`,
    source: 'arXiv 2402.04347, Long Range Arena; the benchmark is arXiv 2011.04006',
    data: { kind: isGenerated ? 'generated' : 'dataset', about, datasets: [dataset] },
    columns: [percentColumn('accuracy')],
    settings,
    attentions,
    published: [{ name: 'hedgehog', values: { accuracy: hedgehog }, note: 'as re-printed elsewhere' }],
    cases: (setup) => arenaCases(setup, task),
  }
}

async function arenaCases(setup: Setup, task: ArenaTask): Promise<Case[]> {
  const { examples: train, validated, tested, length } = setup.settings as Record<string, number>
  const { classes, vocab } = datasets[task.dataset] as { readonly classes: readonly string[]; readonly vocab: number }
  const all = await packedSequences(setup, task, vocab, length!)
  const data = labelledData(limited(all, { train: train!, validation: validated!, test: tested! }, setup.seed))
  // Two more ids than the task's tokens: the one that begins a sequence, and the one between two.
  const sizes = { vocab: vocab + 2, labels: classes.length }
  return setup.attentions.map((name) => ({ name, run: () => trained(setup, name, sizes, data) }))
}

async function* trained(
  setup: Setup,
  name: string,
  sizes: { readonly vocab: number; readonly labels: number },
  data: LabelledData,
): Job<CaseResult> {
  const value = setup.settings as Record<keyof ArenaSizes, number>
  const { length: maxLength, layers, heads, width, inner, batch, steps } = value
  const rng = random(setup.seed)
  const shape = { ...sizes, layers, heads, width, inner, maxLength, task: 'classification' } as const
  const start = linearize(smallEncoder(shape, rng.split('weights')), name, rng.split('maps'))
  const { model, curve } = yield* learned(setup, name.replaceAll('/', '_'), 'train', start, data, {
    ...{ steps, batch, learningRate: value.rate, warmup: value.warmup },
    ...{ weightDecay: value.decay, dropout: value.dropout },
  })
  const predictions = yield* predicted(setup, `score ${name}`, model, data.test(batch))
  return { values: { accuracy: percent('accuracy', predictions) }, lines: heldOutLine(curve) }
}

/** The parts of a task's data as ids; where the release has no validation part, it is a tenth of the training part. */
async function packedSequences(
  setup: Setup,
  task: ArenaTask,
  vocab: number,
  maxLength: number,
): Promise<Split<PackedExample>> {
  const isPair = task.dataset === 'lra-retrieval'
  const pack = packing({ maxLength, before: [vocab], between: [vocab + 1], types: isPair })
  const packed = (examples: AsyncIterable<Example<Uint8Array>> | Iterable<Example<Uint8Array>>) =>
    packExamples(examples, (ids: Uint8Array) => ids, pack)
  const source = task.isGenerated ? setup.resources.data : dataOf(setup, task.dataset)
  if (!source) {
    const { train, validation, test } = await task.made(setup)
    return { train: await packed(train), validation: await packed(validation), test: await packed(test) }
  }
  const dataset = datasets[task.dataset]
  if (dataset.kind !== 'tokens') throw new TypeError(`${task.dataset}: is a dataset of ${dataset.kind}, want tokens`)
  const { readGrey: decode } = setup.resources
  const part = (name: string) => packed(dataset.read(source, name, { ...(decode && { decode }) }))
  const [train, test] = [await part('train'), await part('test')]
  if (!('validation' in dataset.splits)) return { ...partOf(train, 0.1, setup.seed), test }
  return { train, validation: await part('validation'), test }
}

/** Bytes of prose; an input or a pair of them. */
function bytesOf({ train, validation, test }: Split<Example>): Sequences {
  const encoder = new TextEncoder()
  const bytes = (examples: readonly Example[]) =>
    examples.map(({ input, pair, label }) => {
      return { input: encoder.encode(input), ...(pair !== undefined && { pair: encoder.encode(pair) }), label }
    })
  return { train: bytes(train), validation: bytes(validation), test: bytes(test) }
}

/** Expressions as the release's generator draws them; the parts follow each other in one sequence of different ones. */
async function drawnListOps({ settings, seed }: Setup): Promise<Sequences> {
  const { shortest, longest, depth, values, drawn, held } = settings as Record<string, number>
  const options = { minLength: shortest!, maxLength: longest!, maxDepth: depth!, maxArguments: values! }
  const stream = listOps(options, { seed })
  const next = (count: number) => Array.from({ length: count }, () => stream.next().value as Example<Uint8Array>)
  return { train: next(drawn!), validation: next(held!), test: next(held!) }
}

const drawnPictures = (classes: number) => async (setup: Setup) =>
  drawnGratings({ classes, side: 16, train: 400, held: 100 }, random(setup.seed).split('pictures'))

const length = (value: number, quick: number) => published(value, 'tokens of a sequence at most', quick)
const peak = (value: number) =>
  chosen(value, 'the highest learning rate; about the peak of the published schedule', 3e-3)

export const longRangeExperiments = {
  'lra-listops': arena({
    dataset: 'lra-listops',
    title: 'Long Range Arena: ListOps',
    about: 'the value of nested operators on digits, closing brackets kept; drawn here where no release is given',
    isGenerated: true,
    hedgehog: 37.15,
    settings: {
      ...arenaSettings({
        length: length(2000, 64),
        ...{ layers: 6, heads: 8, width: 512, inner: 2048, steps: 5000, batch: 32, warmup: 1000, decay: 0.1 },
        rate: peak(1.5e-3),
        dropout: chosen(0.1, 'share of activations that are dropped', 0),
      }),
      shortest: published(500, 'expressions that are drawn have more tokens', 10),
      longest: published(2000, 'and fewer tokens than this', 50),
      depth: published(10, 'levels of an expression, that of the digits counted', 5),
      values: published(10, 'the most values of an operator', 5),
      drawn: published(96_000, 'expressions that are drawn to learn from', 800),
      held: published(2000, 'expressions that are drawn to validate on, and to measure on', 200),
    },
    made: drawnListOps,
  }),
  'lra-text': arena({
    dataset: 'lra-text',
    title: 'Long Range Arena: Text',
    about: 'is a film review positive, byte by byte',
    hedgehog: 64.6,
    settings: arenaSettings({
      length: length(4000, 200),
      ...{ layers: 4, heads: 4, width: 256, inner: 1024, steps: 20_000, batch: 32, warmup: 8000, decay: 0.1 },
      rate: peak(5e-4),
      dropout: chosen(0.1, 'share of activations that are dropped', 0),
    }),
    made: async ({ resources }) => bytesOf(proseKinds(await resources.corpus())),
  }),
  'lra-retrieval': arena({
    dataset: 'lra-retrieval',
    title: 'Long Range Arena: Retrieval',
    about: 'does one paper cite the other, byte by byte; both in one sequence, where the benchmark reads each alone',
    hedgehog: 82.24,
    settings: arenaSettings({
      length: length(8000, 250),
      ...{ layers: 4, heads: 4, width: 128, inner: 512, steps: 5000, batch: 32, warmup: 8000, decay: 0.1 },
      rate: peak(5e-4),
      dropout: chosen(0.1, 'share of activations that are dropped', 0),
    }),
    made: async ({ resources }) => bytesOf(prosePairs(await resources.corpus(), 'document')),
  }),
  'lra-image': arena({
    dataset: 'lra-image',
    title: 'Long Range Arena: Image',
    about: 'what a picture of CIFAR-10 shows, pixel by pixel in grey',
    hedgehog: 40.15,
    settings: arenaSettings({
      length: chosen(1025, 'tokens of a sequence: all pixels, and one to begin with', 257),
      ...{ layers: 1, heads: 1, width: 32, inner: 64, steps: 35_000, batch: 256, warmup: 175, decay: 0 },
      rate: published(5e-4, 'the highest learning rate', 3e-3),
      dropout: published(0.3, 'share of activations that are dropped', 0),
    }),
    made: drawnPictures(10),
  }),
  'lra-pathfinder': arena({
    dataset: 'lra-pathfinder',
    title: 'Long Range Arena: Pathfinder',
    about: 'are two dots on one path, pixel by pixel',
    hedgehog: 74.16,
    settings: arenaSettings({
      length: chosen(1025, 'tokens of a sequence: all pixels, and one to begin with', 257),
      ...{ layers: 1, heads: 4, width: 128, inner: 128, steps: 62_400, batch: 512, warmup: 312, decay: 0 },
      rate: published(1e-3, 'the highest learning rate', 3e-3),
      dropout: published(0.2, 'share of activations that are dropped', 0),
    }),
    made: drawnPictures(2),
  }),
} as const satisfies Record<string, Experiment>
