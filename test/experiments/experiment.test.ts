import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { planNamed } from '../../src/attention/plan.ts'
import { Interrupted } from '../../src/base/errors.ts'
import { finish } from '../../src/base/progress.ts'
import {
  type Experiment,
  type Resources,
  runExperiment,
  type Setup,
  settingsOf,
} from '../../src/experiments/experiment.ts'
import { experimentNamed, experiments } from '../../src/experiments/table.ts'
import type { Source } from '../../src/io/files.ts'
import { folderSource } from '../../src/node/files.ts'
import { experimentHtml, experimentText } from '../../src/report/experiment.ts'
import type { ResultRow } from '../../src/report/experimentTypes.ts'
import { datasets } from '../../src/tasks/datasets.ts'
import type { StageStore } from '../../src/train/stage.ts'
import type { TrainState } from '../../src/train/train.ts'
import { device } from '../tensors.ts'

const words =
  'the old house by the river was sold again to a man who had never seen it before he came to the town'.split(' ')
const document = (seed: number) => ({
  name: `c${seed}`,
  category: seed % 2 ? 'news' : 'fiction',
  text: Array.from({ length: 300 }, (_, i) => words[(i * (seed + 3)) % words.length]).join(' '),
})
const resources: Resources = {
  bundled: folderSource('models/tiny'),
  corpus: async () => ({
    train: [1, 2, 3, 4].map(document),
    validation: [document(5), document(6)],
    test: [document(7), document(8)],
  }),
}

function setupOf(
  experiment: Experiment,
  attentions: readonly string[],
  changed: Readonly<Record<string, number>>,
): Setup {
  const settings = settingsOf(experiment, true, changed)
  return { device, quick: true, settings, attentions, seed: 1, clock: () => 0, resources }
}

describe('the table of experiments', () => {
  for (const [name, experiment] of Object.entries(experiments)) {
    it(`says what ${name} measures, on what, and where its settings are from`, () => {
      assert.ok(experiment.title && experiment.source && experiment.data.about)
      assert.ok(experiment.columns.length > 0 && experiment.attentions.length > 0)
      for (const attention of experiment.attentions) assert.ok(planNamed(attention))
      for (const { value, meaning } of Object.values(experiment.settings)) assert.ok(Number.isFinite(value) && meaning)
      for (const { values } of experiment.published) {
        for (const column of Object.keys(values))
          assert.ok(
            experiment.columns.some((one) => one.name === column),
            column,
          )
      }
      for (const dataset of experiment.data.datasets ?? []) assert.ok(dataset in datasets, dataset)
    })
  }

  it('names the known experiments, and the known settings', () => {
    assert.throws(() => experimentNamed('magic'), /got magic, want one of associative-recall/)
    assert.throws(() => settingsOf(experimentNamed('mqar-64-4'), false, { speed: 1 }), /got speed, want one of layers/)
  })

  it('says which folder is wanted and where to get it, before any work', async () => {
    const experiment = experimentNamed('gpt2-wikitext')
    const setup = { ...setupOf(experiment, ['hedgehog'], {}), quick: false }
    await assert.rejects(experiment.cases(setup), /--model: is missing, want the folder of https/)
    const withModel = { ...setup, resources: { ...resources, model: resources.bundled } }
    await assert.rejects(experiment.cases(withModel), /--data: is missing, want the folder wikitext.* of https/)
  })
})

describe('an experiment', () => {
  const small = { steps: 6, batch: 4, length: 16, vocab: 12, width: 8, rates: 1 }

  it('has a row per attention, with what was published beside it', async () => {
    const experiment = experimentNamed('associative-recall')
    const job = runExperiment(
      'associative-recall',
      experiment,
      setupOf(experiment, ['softmax', 'hedgehog+half'], small),
    )
    const result = await finish(job)
    assert.deepEqual(
      result.rows.map(({ name, published }) => [name, published?.values.accuracy]),
      [
        ['softmax', 100],
        ['hedgehog+half', undefined],
      ],
    )
    assert.ok(result.rows.every(({ values }) => values.accuracy! >= 0 && values.accuracy! <= 100 && values.steps === 6))
    assert.deepEqual(
      result.unmeasured.map(({ name }) => name),
      ['taylor', 'hedgehog', 'elu', 'performer', 'cosformer'],
    )
    const text = experimentText(result, 80)
    assert.ok(text.split('\n').every((line) => line.length <= 80))
    assert.match(text, /softmax +[\d.]+ +6 +100\.0/)
    assert.match(text.replaceAll('\n', ' '), /\(arXiv 2402\.04347, associative recall\), quick: .* not how good it is /)
    assert.match(experimentHtml(result, 'hedgehog <x>'), /hedgehog &lt;x&gt;/)
  })

  it('can compare attentions above a window, and without positions', async () => {
    const experiment = experimentNamed('mqar-64-4')
    const trainings = async (changed: Readonly<Record<string, number>>) => {
      const learned: string[] = []
      const store: StageStore = {
        save: async (_, { params }) => void learned.push(...Object.keys(params)),
        resume: async () => undefined,
      }
      const tiny = { ...small, vocab: 64, pairs: 2, steps: 8, heads: 1, ...changed }
      const setup = { ...setupOf(experiment, ['softmax', 'elu'], tiny), store }
      const { rows } = await finish(runExperiment('x', experiment, setup))
      return { lines: rows.map(({ lines }) => lines![0]!.points), hasPositions: learned.includes('wpe.weight') }
    }
    const everywhere = await trainings({ window: 0, positions: 1 })
    assert.notDeepEqual(everywhere.lines[0], everywhere.lines[1])
    assert.ok(everywhere.hasPositions)
    const above = await trainings({ window: 2 })
    assert.notDeepEqual(above.lines, everywhere.lines)
    assert.ok(!above.hasPositions)
  })

  it('refuses settings of recall of which nothing can be learned, before any work', async () => {
    const experiment = experimentNamed('mqar-64-4')
    for (const [changed, message] of [
      [{ window: -1 }, /got window -1, want a whole number from 0/],
      [{ window: 1.5 }, /got window 1.5/],
      [{ layers: 1 }, /got layers 1 with a window in the first, want at least 2/],
      [{ heads: 3 }, /got heads 3, want a divisor of the width 64/],
      [{ heads: 0 }, /got heads 0, want a whole number from 1/],
      [{ positions: 2 }, /got positions 2, want 0 or 1/],
      [{ filler: 7 }, /got filler 7, want 0 or 1/],
    ] as const) {
      await assert.rejects(experiment.cases(setupOf(experiment, ['elu'], changed)), message)
    }
  })

  it('that was interrupted goes on to the same rows, without repeating what was finished', async () => {
    const experiment = experimentNamed('mqar-64-4')
    const names = ['softmax', 'elu']
    const tiny = { ...small, vocab: 64, pairs: 2 }
    const whole = await finish(runExperiment('x', experiment, setupOf(experiment, names, tiny)))

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
    const setup = { ...setupOf(experiment, names, tiny), store }
    let seen = 0
    const first = finish(runExperiment('x', experiment, { ...setup, signal: stop.signal }, ledger), () => {
      seen += 1
      if (seen === 9) stop.abort()
    })
    await assert.rejects(first, Interrupted)
    assert.deepEqual(Object.keys(done), ['softmax'])
    let repeated = 0
    const second = await finish(runExperiment('x', experiment, setup, ledger), () => {
      repeated += 1
    })
    assert.equal(repeated, 3)
    assert.deepEqual(
      second.rows.map(({ values }) => values),
      whole.rows.map(({ values }) => values),
    )
  })
})

it('a converted model has perplexity and divergence, as it is, finetuned, and by each attention; a hybrid beside its controls', async () => {
  const experiment = experimentNamed('brown-maps')
  const tiny = { length: 16, batch: 2, testTokens: 64, distillSteps: 2, finetuneSteps: 1 }
  const result = await finish(
    runExperiment('brown-maps', experiment, setupOf(experiment, ['hedgehog', 'hybrid:4'], tiny)),
  )
  const value = Object.fromEntries(result.rows.map(({ name, values }) => [name, values]))
  const controls = ['linear-only', 'window-only', 'none'].map((part) => `hybrid:4, ${part}`)
  assert.deepEqual(Object.keys(value), ['zero-shot', 'softmax', 'hedgehog', 'hybrid:4', ...controls])
  assert.equal(new Set(['hybrid:4', ...controls].map((name) => value[name]!.perplexity)).size, 4)
  assert.ok(Math.abs(value['zero-shot']!.KL!) < 1e-5)
  assert.ok(value.hedgehog!.KL! > 0 && value.hedgehog!.perplexity! > 1)
})

it('language models learn from scratch by each attention', async () => {
  const experiment = experimentNamed('wikitext-scratch')
  const tiny = { length: 16, batch: 2, testTokens: 64, finetuneSteps: 2, vocab: 300, width: 8 }
  const result = await finish(runExperiment('x', experiment, setupOf(experiment, ['softmax', 'elu'], tiny)))
  assert.ok(result.rows.every(({ values }) => values.perplexity! > 1))
  assert.equal(result.rows[0]!.published?.values.perplexity, 18.6)
})

it('efficiency is measured at doubling lengths, with the bytes that a state keeps', async () => {
  const experiment = experimentNamed('efficiency')
  const tiny = { shortest: 16, longest: 64, longestSquare: 32, heads: 1, headDim: 4 }
  const setup = { ...setupOf(experiment, ['softmax', 'elu'], tiny), clock: () => performance.now() / 1000 }
  const { rows } = await finish(runExperiment('efficiency', experiment, setup))
  assert.deepEqual(
    rows.map(({ lines }) => lines![0]!.points.map(([length]) => length)),
    [
      [16, 32],
      [16, 32, 64],
    ],
  )
  // One head of width 4: 4 features times 5 columns of 4 bytes.
  assert.equal(rows[1]!.values.state, 0.08)
})

it('a model converted with LoRA is measured before and after, at two lengths, with controls, layers and samples', async () => {
  const experiment = experimentNamed('smollm2')
  const tiny = { length: 16, longer: 24, batch: 2, testTokens: 64, distillSteps: 1, finetuneSteps: 1, validations: 1 }
  const names = ['hedgehog', 'hybrid:4', 'window:8:2', 'hedgehog-untrained']
  const setup = { ...setupOf(experiment, names, tiny), resources: { ...resources } }
  const result = await finish(runExperiment('smollm2', { ...experiment }, setup))
  assert.deepEqual(
    result.rows.map(({ name }) => name),
    [
      'zero-shot',
      'softmax',
      'hedgehog',
      'hybrid:4',
      'hybrid:4, linear-only',
      'hybrid:4, window-only',
      'hybrid:4, none',
      'window:8:2',
      'hedgehog-untrained',
    ],
  )
  const row = (name: string) => result.rows.find((one) => one.name === name)!
  for (const { name, values } of result.rows) assert.ok(values.perplexity! > 1, name)
  for (const name of ['zero-shot', 'softmax', 'hedgehog', 'hybrid:4', 'window:8:2']) {
    assert.ok(row(name).values.longer! > 1, name)
    assert.deepEqual(
      row(name).samples!.map(({ text }) => text.length > 0),
      [true, true],
    )
  }
  assert.ok(row('hedgehog').values['raw KL']! > row('hybrid:4').values['raw KL']!)
  assert.ok(Math.abs(row('zero-shot').values.KL!) < 1e-5)
  // Nothing is finetuned where attention is only swapped in, so nothing is said of a state before that.
  assert.equal(row('hedgehog-untrained').values['raw perplexity'], undefined)
  const { lines } = row('hedgehog')
  assert.deepEqual(
    lines!.map(({ chart, points }) => [chart, points.length]),
    [
      ['KL by layer, before finetuning', 4],
      ['KL by layer', 4],
    ],
  )
  const html = experimentHtml(result, 'hedgehog <x>')
  assert.match(html, /What they write/)
  assert.match(html, /The old house by the river/)
})

it('fidelity is measured on text of the distilled kind, on another kind, and at a greater length', async () => {
  const experiment = experimentNamed('fidelity')
  const tiny = { length: 16, longest: 300, batch: 2, distillSteps: 2, batches: 1 }
  const { rows } = await finish(runExperiment('fidelity', experiment, setupOf(experiment, ['hedgehog', 'elu'], tiny)))
  for (const { values } of rows) {
    for (const name of ['KL', 'KL other', 'KL longest', 'entropy']) assert.ok(values[name]! > 0, name)
    assert.ok(Math.abs(values.monotonicity!) <= 1)
  }
})

it('a model converted with LoRA summarises dialogues of the release, and its texts are compared with the references', async () => {
  const experiment = experimentNamed('llama2-samsum')
  const entry = (id: string) => ({
    id,
    dialogue: 'Amanda: I baked cookies. Do you want some?\r\nJerry: Sure!',
    summary: 'Amanda baked cookies.',
  })
  const file = new TextEncoder().encode(JSON.stringify(['1', '2', '3'].map(entry)))
  const data: Source = {
    name: 'corpus',
    list: async () => ['train.json', 'test.json'],
    size: async () => file.length,
    read: async (_path, start = 0, end = file.length) => file.slice(start, end),
  }
  const tiny = { length: 64, distillSteps: 1, finetuneSteps: 1, test: 1, tokens: 4 }
  const setup = { ...setupOf(experiment, ['hedgehog'], tiny), resources: { ...resources, data } }
  const { rows } = await finish(runExperiment('x', experiment, setup))
  assert.deepEqual(
    rows.map(({ name }) => name),
    ['base', 'softmax', 'hedgehog'],
  )
  for (const { values } of rows) for (const value of Object.values(values)) assert.ok(value >= 0 && value <= 100)
})
