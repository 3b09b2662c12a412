import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { floats } from '../../src/base/array.ts'
import { Interrupted } from '../../src/base/errors.ts'
import { finish, type Progress } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { type Resources, runExperiment, type Setup, settingsOf } from '../../src/experiments/experiment.ts'
import { limited, partOf, readingOf, smallEncoder, textSplit } from '../../src/experiments/labelled.ts'
import { pictureData } from '../../src/experiments/pictures.ts'
import { experimentNamed } from '../../src/experiments/table.ts'
import { trainBpe } from '../../src/io/bpe.ts'
import { subfolder } from '../../src/io/files.ts'
import type { Picture } from '../../src/io/pictures.ts'
import { tokenizerFrom } from '../../src/io/tokenizer.ts'
import { folderSource } from '../../src/node/files.ts'
import type { ExperimentResult, ResultRow } from '../../src/report/experimentTypes.ts'
import type { StageStore } from '../../src/train/stage.ts'
import type { TrainState } from '../../src/train/train.ts'
import { memory } from '../tasks/memory.ts'
import { device } from '../tensors.ts'
import { encoderFolder, glueRelease, releases } from './releases.ts'

const none = async () => assert.fail('the packaged corpus is not asked for')
const resources: Resources = { bundled: folderSource('models/tiny'), corpus: none }

/** Runs an experiment in full, as --data, --model and --set would have it, but tiny. */
function setupOf(name: string, changed: Readonly<Record<string, number>>, given: Partial<Setup> = {}): Setup {
  const settings = settingsOf(experimentNamed(name), false, changed)
  return {
    device,
    quick: false,
    settings,
    attentions: ['softmax', 'hedgehog'],
    seed: 1,
    clock: () => 0,
    resources,
    ...given,
  }
}

const run = (name: string, setup: Setup, see?: (progress: Progress) => void): Promise<ExperimentResult> =>
  finish(runExperiment(name, experimentNamed(name), setup), see)

const encoder = { layers: 1, heads: 2, width: 8, batch: 4 }
const stages = { steps: 3, distillSteps: 2, finetuneSteps: 2 }
const spam = { ...encoder, ...stages, length: 12, vocab: 262 }
const arena = { ...encoder, inner: 12, steps: 3, warmup: 1, length: 32 }
const bert = { length: 16, batch: 4, epochs: 1, finetuneEpochs: 1, distillSteps: 2 }

function isShare(result: ExperimentResult, columns: readonly string[]): void {
  for (const { values } of result.rows) {
    for (const column of columns) assert.ok(values[column]! >= -100 && values[column]! <= 100, column)
  }
}

describe('experiments on releases', () => {
  for (const [name, data] of Object.entries(releases).filter(([name]) => name.startsWith('lra-'))) {
    it(`${name} trains by each attention and measures accuracy`, async () => {
      const readGrey = async (pixels: Uint8Array) => pixels
      const pixels = ['lra-image', 'lra-pathfinder'].includes(name) ? { length: 1025, tested: 3, validated: 2 } : {}
      const setup = setupOf(name, { ...arena, ...pixels }, { resources: { ...resources, data, readGrey } })
      const result = await run(name, setup)
      isShare(result, ['accuracy'])
      const [softmax, hedgehog] = result.rows
      assert.equal(softmax!.published, undefined)
      assert.ok(hedgehog!.published!.values.accuracy! > 30)
    })
  }

  it('ListOps is drawn where no release is given', async () => {
    const drawn = { ...arena, shortest: 3, longest: 30, drawn: 20, held: 8 }
    isShare(await run('lra-listops', setupOf('lra-listops', drawn)), ['accuracy'])
  })

  it('mails are classified before and after finetuning, by an encoder from scratch or by one that is given', async () => {
    const data = releases.spam!
    for (const model of [undefined, await encoderFolder()]) {
      const result = await run(
        'spam',
        setupOf('spam', spam, { resources: { ...resources, data, ...(model && { model }) } }),
      )
      isShare(result, ['acc', 'F1', 'MCC', 'raw acc', 'raw F1', 'raw MCC'])
    }
  })

  it('BERT is finetuned on CoLA once, and converted by each map', async () => {
    const given = { ...resources, data: subfolder(glueRelease, 'CoLA'), model: await encoderFolder() }
    const phases = new Set<string>()
    const result = await run('bert-cola', setupOf('bert-cola', bert, { resources: given }), ({ phase }) =>
      phases.add(phase),
    )
    isShare(result, ['Matthews', 'raw Matthews'])
    assert.deepEqual(
      [...phases].filter((phase) => !phase.startsWith('score')),
      ['train teacher', 'finetune softmax', 'distill hedgehog', 'finetune hedgehog'],
    )
    assert.equal(result.rows[1]!.published?.values.Matthews, 59.2)
  })

  it('BERT is converted on every task of GLUE, with a column for each and for their mean', async () => {
    const given = { ...resources, data: glueRelease, model: await encoderFolder() }
    const small = { ...bert, examples: 8, tested: 6 }
    const result = await run('glue', setupOf('glue', small, { resources: given, attentions: ['t2r'] }))
    const tasks = ['CoLA', 'SST2', 'MRPC', 'STSB', 'QQP', 'MNLI', 'QNLI', 'RTE']
    isShare(result, [...tasks, 'mean', 'raw mean'])
    const { values } = result.rows[0]!
    const mean = tasks.reduce((sum, task) => sum + values[task]! / tasks.length, 0)
    assert.ok(Math.abs(values.mean! - mean) < 1e-9)
  })
})

describe('ViT', () => {
  const data = memory(
    Object.fromEntries(
      ['train', 'val'].flatMap((part) =>
        [...'abcdefgh'].map((name, i) => [`${part}/n0${i % 4}/${name}.JPEG`, Uint8Array.of(20 * i, 90, 160)] as const),
      ),
    ),
  )
  /** Pictures of one colour, of other sizes than the model's. */
  const readPicture = async (bytes: Uint8Array): Promise<Picture> => ({
    width: 8,
    height: 6,
    data: Uint8Array.from({ length: 8 * 6 * 3 }, (_, i) => bytes[i % 3]!),
  })
  const model = folderSource('test/fixtures/vit-tiny')
  const small = { batch: 3, distillSteps: 2, finetuneSteps: 2, validated: 1, tested: 7 }

  it('is converted as it is given, on pictures of the release', async () => {
    const given = { resources: { ...resources, data, model, readPicture } }
    const phases = new Set<string>()
    const setup = setupOf('vit-imagenet', small, given)
    const result = await run('vit-imagenet', setup, ({ phase }) => phases.add(phase))
    isShare(result, ['top-1', 'raw top-1'])
    assert.ok(!phases.has('train teacher'))
    assert.equal(result.rows[1]!.published?.values['top-1'], 79.5)
  })

  it('says which model, which folder or what else is missing', async () => {
    const fails = (given: Partial<Resources>, message: RegExp) =>
      assert.rejects(
        run('vit-imagenet', setupOf('vit-imagenet', {}, { resources: { ...resources, ...given } })),
        message,
      )
    await fails({}, /--model: is missing, want the folder of .*vit-base-patch16-224/)
    await fails({ model }, /--data: is missing, want the folder ILSVRC2012 of/)
    await fails({ model, data }, /vit-imagenet: got no decoder of pictures/)
    await fails({ model, data: memory({}), readPicture }, /has no file val\/\*\/\*\.JPEG; want the folder ILSVRC2012/)
  })

  it('reads the same batches again from where their position was stored', async () => {
    const shown = [...'abcdefg'].map((_, label) => ({
      label,
      read: async () => floats([3, 4, 4], Array(48).fill(label)),
    }))
    const stream = () => pictureData({ train: shown, validation: [], test: shown }, 2).training(2, 1)
    const [first, second] = [stream(), stream()]
    for (let i = 0; i < 4; i++) await first.next()
    second.restore(JSON.parse(JSON.stringify(first.state())))
    for (let i = 0; i < 3; i++) {
      const batch = await first.next()
      assert.deepEqual(await second.next(), batch)
      assert.deepEqual(batch.ids.shape, [2, 4, 12])
      assert.equal(batch.ids.data[0], batch.labels.data[0])
    }
  })
})

describe('what is missing is named before any work', () => {
  const wanted: [name: string, given: Partial<Resources>, message: RegExp][] = [
    [
      'spam',
      {},
      /--data: is missing, want the folder \.cache\/tasks\/spam of node --import tsx scripts\/prepare-tasks/,
    ],
    ['spam', { data: memory({}) }, /data: has no file train\.jsonl; want the folder \.cache\/tasks\/spam/],
    ['lra-text', {}, /--data: is missing, want the folder aclImdb of https/],
    ['lra-listops', { data: memory({}) }, /has no file basic_train\.tsv; want the folder lra_release\/listops-1000 of/],
    ['lra-pathfinder', { data: releases['lra-pathfinder']! }, /lra-pathfinder: got no decoder of PNG pictures/],
    [
      'bert-cola',
      {},
      /--model: is missing, want the folder of https:\/\/huggingface\.co\/google-bert\/bert-base-uncased/,
    ],
    ['bert-cola', { model: memory({}) }, /--data: is missing, want the folder CoLA of https.*CoLA\.zip/],
    ['glue', { model: memory({}) }, /--data: is missing, want a folder with the folders CoLA \(https.*RTE\.zip\)/],
    ['glue', { model: memory({}), data: memory({}) }, /data\/CoLA: has no file train\.tsv; want the folder CoLA/],
  ]
  for (const [name, given, message] of wanted) {
    it(`${name} with ${Object.keys(given).join(' and ') || 'nothing'}`, async () => {
      await assert.rejects(run(name, setupOf(name, {}, { resources: { ...resources, ...given } })), message)
    })
  }

  it('a tokenizer without the special tokens of BERT', () => {
    const tokenizer = tokenizerFrom(trainBpe(['some text'], { vocabSize: 257 }))
    assert.throws(() => readingOf(tokenizer, 8), /tokenizer\.json: has no token \[PAD\]/)
  })

  it('a setting that an experiment does not have', () => {
    assert.throws(() => setupOf('spam', { depth: 3 }), /settings: got depth, want one of length, vocab, layers/)
    assert.throws(() => setupOf('glue', { steps: 3 }), /settings: got steps, want one of length, batch, epochs/)
  })
})

describe('a conversion that is interrupted', () => {
  for (const stopAt of ['train teacher', 'distill hedgehog', 'score hedgehog']) {
    it(`in "${stopAt}" goes on to the same rows, and trains nothing twice`, async () => {
      const given = { resources: { ...resources, data: releases.spam! } }
      const whole = await run('spam', setupOf('spam', spam, given))
      const states = new Map<string, TrainState>()
      const store: StageStore = {
        save: async (stage, state) => void states.set(stage, structuredClone(state)),
        resume: async (stage) => states.get(stage),
      }
      const done: Record<string, ResultRow> = {}
      const ledger = {
        done,
        note: async (row: ResultRow): Promise<void> => void Object.assign(done, { [row.name]: row }),
      }
      const stop = new AbortController()
      const setup = setupOf('spam', spam, { ...given, store, signal: stop.signal })
      const steps: string[] = []
      const see = ({ phase, step }: Progress) => {
        if (!phase.startsWith('score')) steps.push(`${phase} ${step}`)
        if (phase === stopAt) stop.abort()
      }
      const experiment = experimentNamed('spam')
      await assert.rejects(finish(runExperiment('spam', experiment, setup, ledger), see), Interrupted)
      const { signal: _, ...again } = setup
      const result = await finish(runExperiment('spam', experiment, again, ledger), see)
      assert.deepEqual(
        result.rows.map(({ values }) => values),
        whole.rows.map(({ values }) => values),
      )
      assert.equal(new Set(steps).size, steps.length)
    })
  }
})

describe('labelled texts', () => {
  const split = { train: [1, 2, 3, 4, 5, 6, 7], validation: [8, 9], test: [10, 11, 12] }

  it('are limited to some that are drawn, and 0 means all', () => {
    const found = limited(split, { train: 4, validation: 0, test: 9 }, 1)
    assert.equal(new Set(found.train).size, 4)
    assert.ok(found.train.every((item) => split.train.includes(item)))
    assert.deepEqual([found.validation, found.test], [split.validation, split.test])
    assert.deepEqual(limited(split, { train: 4, validation: 0, test: 9 }, 1).train, found.train)
  })

  it('give a share away for validation, at least one, and keep the others', () => {
    const { train, validation } = partOf(split.train, 0.01, 1)
    assert.equal(validation.length, 1)
    assert.deepEqual([...train, ...validation].sort(), split.train)
  })

  it('of GLUE are measured on the development part, and validated on a part of the training one', async () => {
    const { train, validation, test } = await textSplit('glue-cola', subfolder(glueRelease, 'CoLA'), 1)
    assert.deepEqual([train.length, validation.length, test.length], [11, 1, 12])
  })
})

it('a small encoder begins with weights at 1/√width, so that attention is not flat, and with quiet positions', () => {
  const sizes = { layers: 1, heads: 2, width: 16, vocab: 50, maxLength: 40, task: 'classification' } as const
  const { params } = smallEncoder(sizes, random(1))
  const spread = (path: string) => {
    const { data } = params[path]!
    return Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length)
  }
  assert.ok(Math.abs(spread('encoder.layer.0.attention.self.query.weight') - 1 / 4) < 0.03)
  assert.ok(Math.abs(spread('embeddings.position_embeddings.weight') - 0.02) < 0.003)
})
