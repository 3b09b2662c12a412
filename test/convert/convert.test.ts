import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { isMapPath } from '../../src/attention/mapParams.ts'
import { floats, ints, type Params } from '../../src/base/array.ts'
import { Interrupted } from '../../src/base/errors.ts'
import { finish, type Progress } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { type Conversion, type ConvertJob, convert } from '../../src/convert/convert.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { reportOf } from '../../src/convert/report.ts'
import { createForward } from '../../src/execute/forward.ts'
import { newModel } from '../../src/models/families.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import type { Model } from '../../src/models/model.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { resumeFrom, saveCheckpoint } from '../../src/train/checkpoint.ts'
import type { StageStore } from '../../src/train/stage.ts'
import { device, normals } from '../tensors.ts'

const vocab = 23

/** A random GPT-2 whose attention is far from uniform. */
function randomTeacher(): Model {
  const { config, params } = newModel(
    gpt2.configOf({ layers: 2, heads: 2, width: 24, vocab, maxLength: 16 }),
    random(1),
  )
  const spiky = Object.entries(params).map(([path, array]) => {
    const by = normals(random(2).split(path), array.shape, path.endsWith('c_attn.weight') ? 0.35 : 0.05)
    const data = array.data.map((x, i) => x + by.data[i]!)
    return [path, floats(array.shape, data)] as const
  })
  return { config, params: Object.fromEntries(spiky) }
}

const teacher = randomTeacher()
const text = (name: string, length: number) => {
  const rng = random(7).split(name)
  return Int32Array.from({ length }, (_, i) => (i % 3 === 0 ? 5 : rng.integer(vocab)))
}
const shape = { length: 12, batch: 2, seed: 0 }

function jobOf(changes: Partial<ConvertJob> = {}): ConvertJob {
  return {
    device,
    teacher,
    trainTokens: text('train', 400),
    validationTokens: text('validation', 100),
    testTokens: text('test', 150),
    map: 'hedgehog-softmax',
    compare: ['t2r', 'elu'],
    distill: { ...shape, steps: 12, learningRate: 3e-2, loss: 'cross-entropy', validateEvery: 4 },
    finetune: { ...shape, steps: 3, learningRate: 1e-3 },
    fidelityBatches: 2,
    seed: 0,
    clock: () => 0,
    ...changes,
  }
}

/** A conversion without its models, and the weights that it ends with. */
const facts = ({ model, entries, curves }: Conversion) => ({
  rows: entries.map(({ model: _, ...entry }) => entry),
  curves,
  weights: Object.fromEntries(Object.entries(model.params).map(([path, { data }]) => [path, data])),
})

const copyOf = (params: Params) => Object.entries(params).map(([path, { data }]) => [path, data.slice()] as const)

let folder = ''
let whole: Conversion
const seen: Progress[] = []
const before0 = copyOf(teacher.params)
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-convert-'))
  whole = await finish(convert(jobOf()), (one) => seen.push(one))
})
after(() => rm(folder, { recursive: true, force: true }))

const row = (name: string) => whole.entries.find((entry) => entry.name === name)!
const mean = (numbers: readonly number[]) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length
const kl = (name: string) => mean(row(name).heads!.map((head) => head.kl))

describe('a conversion', () => {
  it('has a row for each model that it must be compared with, scored on the same tokens', () => {
    assert.deepEqual(
      whole.entries.map(({ name }) => name),
      [
        ...['teacher', 'teacher-finetuned', 'untrained', 'hedgehog-distilled', 'hedgehog'],
        ...['t2r-untrained', 't2r', 'elu-untrained', 'elu'],
      ],
    )
    assert.equal(new Set(whole.entries.map(({ score }) => score.tokens)).size, 1)
    for (const { score } of whole.entries) assert.ok(score.perplexity > 1 && score.perplexity < 100)
    assert.deepEqual(
      whole.curves.map(({ name, phase, points }) => [name, phase, points.length]),
      [
        ['teacher-finetuned', 'finetune', 3],
        ['hedgehog-distilled', 'distill', 12],
        ['hedgehog', 'finetune', 3],
        ['t2r', 'finetune', 3],
        ['elu', 'finetune', 3],
      ],
    )
  })

  it('leaves the teacher as it was, bit for bit, and gives a model whose every layer is linear', () => {
    for (const [path, data] of before0) assert.deepEqual(teacher.params[path]!.data, data, path)
    assert.deepEqual(
      whole.model.config.attention,
      teacher.config.attention.map(() => ({ kind: 'linear', map: 'hedgehog-softmax' })),
    )
    for (const [path, data] of before0) assert.notDeepEqual(whole.model.params[path]!.data, data, path)
  })

  it('comes nearer to the teacher by distillation on text that it has not seen', () => {
    assert.ok(kl('hedgehog-distilled') < 0.95 * kl('untrained'), `${kl('untrained')} to ${kl('hedgehog-distilled')}`)
    const points = whole.curves.find(({ phase }) => phase === 'distill')!.points
    const held = points.flatMap(({ validationLoss }) => validationLoss ?? [])
    assert.equal(held.length, 3)
    assert.ok(held[2]! < held[0]!)
  })

  it('reports each stage by name', () => {
    const phases = [...new Set(seen.map(({ phase }) => phase))]
    assert.equal(phases[0], 'score teacher')
    assert.ok(phases.includes('distill hedgehog-distilled') && phases.includes('finetune elu'))
    assert.ok(seen.every(({ step, steps }) => step <= steps))
  })

  it('that is stopped anywhere and resumed gives the same rows, curves and weights', async () => {
    const want = facts(whole)
    for (const [phase, step] of [
      ['finetune teacher-finetuned', 2],
      ['distill hedgehog-distilled', 5],
      ['score hedgehog', 1],
    ] as const) {
      const own = join(folder, phase.replaceAll(' ', '-'))
      const controller = new AbortController()
      const first = convert(jobOf({ compare: [], store: storeIn(own), signal: controller.signal }))
      const stopped = finish(first, (one) => one.phase === phase && one.step === step && controller.abort())
      await assert.rejects(stopped, Interrupted)
      const again: Progress[] = []
      const got = await finish(convert(jobOf({ compare: [], store: storeIn(own) })), (one) => again.push(one))
      assert.deepEqual(facts(got), { ...want, rows: want.rows.slice(0, 5), curves: want.curves.slice(0, 3) })
      const trained = ({ phase: name }: Progress) => /^(finetune|distill)/.test(name)
      assert.ok(again.filter(trained).length < seen.filter(trained).length)
    }
  })

  it('gives a report whose numbers are those of the rows, all finite', async () => {
    const run = { name: 'tiny', command: 'hedgehog', seconds: 1, peakMemoryBytes: 1, versions: {} }
    const report = await reportOf(jobOf(), whole, run, (id) => `<${id}>`)
    assert.deepEqual(
      report.rows.map(({ name, kl: value, perplexity }) => [name, value, perplexity]),
      whole.entries.map(({ name, heads, score }) => [name, heads ? kl(name) : undefined, score.perplexity]),
    )
    const text = JSON.stringify(report)
    assert.ok(!text.includes('null'), 'JSON writes numbers that are not finite as null')
    assert.ok(report.maps.length > 0 && report.weightCurves.every(({ series }) => series.length === 4))
  })

  it('is the same model when it was saved and read again', async () => {
    await saveModel(folderSink(join(folder, 'saved')), whole.model)
    const { config, params } = await loadModel(folderSource(join(folder, 'saved')))
    const ids = ints([2, 9], text('test', 18))
    const logits = async (model: Model) => {
      const forward = createForward(device, model.config)
      const found = await forward.logits(model.params, await forward.hidden(model.params, { ids }))
      await forward.dispose()
      return found.data
    }
    assert.deepEqual(config.attention, whole.model.config.attention)
    assert.deepEqual(await logits({ config, params }), await logits(whole.model))
  })
})

describe('a conversion that cannot be', () => {
  const refused: readonly [string, Partial<ConvertJob>, RegExp][] = [
    ['too little training text', { trainTokens: text('train', 20) }, /^convert: training text: .*got 20 tokens/],
    [
      'too little validation text',
      { validationTokens: text('v', 12) },
      /^convert: validation text: .*want at least 13/,
    ],
    ['no test text', { testTokens: text('t', 0) }, /^convert: test text: .*got 0 tokens/],
    [
      'a teacher that is linear already',
      { teacher: linearize(teacher, 'elu', random(0)) },
      /^convert: layer 0 of the model is not softmax/,
    ],
    [
      'a map with too few positions',
      { compare: ['cosformer:2'] },
      /^convert: cosformer:2 has 2 positions, want at least/,
    ],
  ]
  for (const [what, changes, message] of refused) {
    it(`ends before it begins: ${what}`, async () => {
      await assert.rejects(convert(jobOf(changes)).next(), { name: 'RangeError', message })
    })
  }
})

it('compared Hedgehog variants have rows and stages of their own, and a map is compared with itself once', async () => {
  const own = join(folder, 'variants')
  const steps = { distill: { ...jobOf().distill, steps: 1 }, finetune: { ...shape, steps: 1, learningRate: 1e-3 } }
  const compare = ['hedgehog-exp', 'hedgehog-softmax', 'hedgehog-exp'] as const
  const { entries } = await finish(convert(jobOf({ ...steps, compare, store: storeIn(own) })))
  assert.deepEqual(entries.map(({ name }) => name).slice(4), ['hedgehog', 'hedgehog-exp-untrained', 'hedgehog-exp'])
  const weights = (name: string) => entries.find((entry) => entry.name === name)!.model.params['wte.weight']!.data
  assert.notDeepEqual(weights('hedgehog'), weights('hedgehog-exp'))
})

it('without steps the distilled and the finetuned rows are those of the untrained student', async () => {
  const none = { distill: { ...jobOf().distill, steps: 0 }, finetune: { ...shape, steps: 0, learningRate: 1 } }
  const { entries, curves } = await finish(convert(jobOf({ ...none, compare: [] })))
  assert.deepEqual(curves, [])
  assert.equal(new Set(entries.slice(2).map(({ score }) => score.loss)).size, 1)
})

it('linearizing again replaces the maps and keeps every other array', () => {
  const once = linearize(teacher, 't2r', random(1))
  const twice = linearize(once, 'hedgehog-exp', random(1))
  assert.deepEqual(
    Object.keys(twice.params).sort(),
    Object.keys(linearize(teacher, 'hedgehog-exp', random(1)).params).sort(),
  )
  for (const [path, array] of Object.entries(twice.params)) {
    if (!isMapPath(path)) assert.equal(array, teacher.params[path])
  }
})

function storeIn(path: string): StageStore {
  const file = (stage: string) => `${stage}.safetensors`
  return {
    save: (stage, state) => saveCheckpoint(folderSink(path), file(stage), state, '{}'),
    async resume(stage) {
      const files = await folderSource(path)
        .list()
        .catch((): readonly string[] => [])
      return files.includes(file(stage)) ? resumeFrom(folderSource(path), file(stage), '{}') : undefined
    },
  }
}
