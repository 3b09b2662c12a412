/** Vision transformers converted: patches of pictures in place of tokens, read from disk as they are needed. */

import type { FloatArray } from '../base/array.ts'
import { random } from '../base/random.ts'
import type { Batch } from '../execute/objective.ts'
import type { Split } from '../io/corpus.ts'
import type { Source } from '../io/files.ts'
import { readJsonObject } from '../io/json.ts'
import { readPictureRecipe, usualRecipe } from '../io/pictureRecipe.ts'
import { type PictureRecipe, patchesOf, prepared } from '../io/pictures.ts'
import { loadModel } from '../models/folder.ts'
import type { Model } from '../models/model.ts'
import { imageSizes, vit } from '../models/vit.ts'
import { exampleBatches, heldOutExamples } from '../tasks/batches.ts'
import { datasets } from '../tasks/datasets.ts'
import { collected } from '../tasks/examples.ts'
import { drawnGratings } from '../tasks/gratings.ts'
import type { LabelledData } from './classifier.ts'
import { conversionCases, percentColumn, swappedColumn } from './conversion.ts'
import type { Case, Experiment, Setup } from './experiment.ts'
import { limited, partOf, smallModel } from './labelled.ts'
import { dataOf, modelOf } from './resources.ts'
import { chosen } from './settings.ts'

const reprinted = 'as re-printed elsewhere'
const modelUrl = 'https://huggingface.co/google/vit-base-patch16-224'

export const pictureExperiments = {
  'vit-imagenet': {
    title: 'ViT-B/16 converted on ImageNet-1K',
    source: 'arXiv 2402.04347, finetuned-conversion of vision transformers',
    data: { kind: 'dataset', about: 'what a photograph shows, of 1000 things', datasets: ['imagenet-1k'] },
    columns: [percentColumn('top-1'), swappedColumn('top-1')],
    settings: {
      batch: chosen(32, 'pictures in a batch', 16),
      distillSteps: chosen(2000, 'steps of distillation', 15),
      distillRate: chosen(1e-2, 'learning rate of distillation'),
      finetuneSteps: chosen(10_000, 'steps of finetuning all weights after a conversion', 15),
      finetuneRate: chosen(1e-5, 'learning rate of finetuning', 5e-4),
      examples: chosen(0, 'pictures to learn from at most; 0 means all'),
      validated: chosen(500, 'pictures of them that curves are measured on', 64),
      tested: chosen(0, 'pictures that accuracy is measured on at most; 0 means all', 200),
    },
    attentions: ['softmax', 't2r-hh', 'hedgehog'],
    published: [
      { name: 'softmax', values: { 'top-1': 80.3 } },
      { name: 'hedgehog', values: { 'top-1': 79.5 } },
      { name: 't2r-hh', values: { 'top-1': 77.0 }, note: reprinted },
    ],
    cases,
  },
} as const satisfies Record<string, Experiment>

type Settings = Record<keyof (typeof pictureExperiments)['vit-imagenet']['settings'], number>

/** A picture that can be read, with its class. */
interface Shown {
  readonly label: number
  /** Its normalised colour planes (c h w). */
  read(): Promise<FloatArray>
}

async function cases(setup: Setup): Promise<Case[]> {
  const folder = modelOf(setup, modelUrl)
  const source = dataOf(setup, 'imagenet-1k')
  const model = folder ? await loadModel(folder, { task: 'classification' }) : undefined
  const start = model ?? quickModel(setup.seed)
  const recipe = folder ? await recipeOf(folder, start) : usualRecipe(imageSizes(start.config).side)
  const { examples: train, validated, tested, ...value } = setup.settings as Settings
  const all = source ? await photographs(setup, source, recipe) : drawings(setup.seed, start, recipe)
  const shown = limited(all, { train, validation: validated, test: tested }, setup.seed)
  const { batch } = value
  return conversionCases(setup, {
    start,
    data: pictureData(shown, imageSizes(start.config).patch),
    metrics: { 'top-1': 'accuracy' },
    // A model that is given knows the classes; a drawn one learns them first.
    ...(!model && { teach: { batch, steps: quickSteps, learningRate: 2e-3 } }),
    distill: { batch, steps: value.distillSteps, learningRate: value.distillRate },
    finetune: { batch, steps: value.finetuneSteps, learningRate: value.finetuneRate },
  })
}

async function recipeOf(folder: Source, { config }: Model): Promise<PictureRecipe> {
  const path = 'preprocessor_config.json'
  const has = (await folder.list()).includes(path)
  return has ? readPictureRecipe(await readJsonObject(folder, path)) : usualRecipe(imageSizes(config).side)
}

/** The training pictures, of which a twentieth validates, and the validation pictures, which are reported on. */
async function photographs({ resources, seed }: Setup, source: Source, recipe: PictureRecipe): Promise<Split<Shown>> {
  const { readPicture } = resources
  if (!readPicture) throw new TypeError('vit-imagenet: got no decoder of pictures, want one as resources.readPicture')
  const part = async (name: string) =>
    (await collected(datasets['imagenet-1k'].read(source, name))).map(({ file, label }) => ({
      label,
      read: async () => prepared(await readPicture(await source.read(file)), recipe),
    }))
  const test = await part('validation')
  return { ...partOf(await part('train'), 0.05, seed), test }
}

/** Pictures that are drawn, to show that all runs. */
const quickImage = { side: 16, patch: 4, channels: 3 }
const quickClasses = 4
const quickSteps = 150

function quickModel(seed: number): Model {
  const sizes = { layers: 2, heads: 2, width: 32, vocab: 0, maxLength: 17, labels: quickClasses } as const
  return smallModel(
    vit.configOf({ ...sizes, task: 'classification', image: quickImage }),
    random(seed).split('weights'),
  )
}

function drawings(seed: number, { config }: Model, recipe: PictureRecipe): Split<Shown> {
  const { side } = imageSizes(config)
  const options = { classes: Math.min(quickClasses, config.labels), side, channels: 3, train: 600, held: 200 }
  const { train, validation, test } = drawnGratings(options, random(seed).split('pictures'))
  const shown = (pictures: typeof train) =>
    pictures.map(({ input, label }) => ({
      label,
      read: async () => prepared({ width: side, height: side, data: input }, recipe),
    }))
  return { train: shown(train), validation: shown(validation), test: shown(test) }
}

/** Pictures as data of classifiers; only those of a batch are in memory. */
export function pictureData({ train, validation, test }: Split<Shown>, patch: number): LabelledData {
  const load = async (pictures: readonly Shown[], ids: Batch['ids'], labels: Batch['labels']): Promise<Batch> => {
    const planes = await Promise.all(Array.from(ids.data, (index) => pictures[index]!.read()))
    return { ids: patchesOf(planes, patch), labels }
  }
  const held = (pictures: readonly Shown[]) =>
    async function* (batch: number): AsyncGenerator<Batch> {
      for (const { ids, labels } of heldOutExamples(numbered(pictures), { batch, lengths: [1] })) {
        yield await load(pictures, ids, labels)
      }
    }
  return {
    examples: train.length,
    training(batch, seed) {
      const order = exampleBatches(numbered(train), { batch: Math.min(batch, train.length), seed, lengths: [1] })
      return {
        async next() {
          const { ids, labels } = order.next()
          return load(train, ids, labels)
        },
        state: order.state,
        restore: order.restore,
      }
    },
    ...(validation.length > 0 && { validation: held(validation) }),
    test: held(test),
  }
}

/** Pictures as sequences of one id, their number, so that they are shuffled as other examples are. */
function numbered(pictures: readonly Shown[]) {
  return pictures.map(({ label }, index) => ({ ids: Int32Array.of(index), label }))
}
