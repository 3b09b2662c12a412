import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { planName, planNamed } from '../../src/attention/plan.ts'
import { Interrupted } from '../../src/base/errors.ts'
import { finish } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { allMaps, checkInspection, type InspectJob, inspect } from '../../src/convert/inspect.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { propertyNames } from '../../src/evaluate/propertyNames.ts'
import { mapNames } from '../attention/examples.ts'
import { tinyModel } from '../execute/tiny.ts'
import { device } from '../tensors.ts'

const [layers, heads, maxLength] = [2, 2, 12]
const teacher = tinyModel({ kind: 'softmax' }, layers, maxLength)
const vocab = 11

function tokens(count: number, seed: number): Int32Array {
  const draw = random(seed)
  return Int32Array.from({ length: count }, () => draw.integer(vocab))
}

const distillation = {
  trainTokens: tokens(200, 1),
  validationTokens: tokens(30, 2),
  distill: { steps: 2, length: 8, batch: 2, learningRate: 1e-2, loss: 'both', seed: 0 },
} as const

const job: InspectJob = {
  device,
  model: teacher,
  texts: [
    { name: 'one', tokens: tokens(100, 3) },
    { name: 'two', tokens: tokens(60, 4) },
  ],
  maps: ['hedgehog', 'elu'],
  properties: propertyNames,
  lengths: [5, 12],
  tokens: 48,
  distill: distillation,
  seed: 0,
  clock: () => 0,
}
const done = (change: Partial<InspectJob> = {}) => finish(inspect({ ...job, ...change }, String))

describe('inspecting', () => {
  it('distils what learns, and measures every map on every text at every length', async () => {
    const result = await done()
    assert.deepEqual(
      result.maps.map(({ name, distilledSteps, features }) => [name, distilledSteps, features]),
      [
        ['softmax', 0, undefined],
        ['hedgehog-exp', 2, 6],
        ['elu', 0, 3],
      ],
    )
    const keys = result.rows.map(({ map, text, length }) => `${length} ${text} ${map}`)
    const want = [5, 12].flatMap((length) =>
      ['one', 'two'].flatMap((text) => ['softmax', 'hedgehog-exp', 'elu'].map((map) => `${length} ${text} ${map}`)),
    )
    assert.deepEqual(keys, want)
    for (const { values } of result.rows) assert.deepEqual(Object.keys(values), [...propertyNames])
    assert.equal(result.heads.length, 3 * 2 * layers * heads)
    assert.equal(result.mainLength, 12)
    assert.deepEqual(result.distillation, { steps: 2, length: 8, tokens: 200 })
  })

  it('gives the same numbers again, and rows that are the means of their heads', async () => {
    const [first, again] = [await done(), await done()]
    assert.deepEqual(again.rows, first.rows)
    for (const row of first.rows.filter(({ length }) => length === 12)) {
      const own = first.heads.filter(({ map, text }) => map === row.map && text === row.text)
      const mean = own.reduce((sum, { values }) => sum + values.kl!, 0) / own.length
      assert.ok(Math.abs(mean - row.values.kl!) < 2e-6)
    }
  })

  it('shows some heads with the weights of softmax and of every map', async () => {
    const { shown, curves } = await done()
    assert.equal(shown.length, 3)
    for (const { maps, tokens: words } of shown) {
      assert.deepEqual(
        maps.map(({ name }) => name),
        ['softmax', 'hedgehog-exp', 'elu'],
      )
      for (const { weights } of maps) {
        assert.equal(weights.length, words.length)
        for (const row of weights) assert.ok(Math.abs(row.reduce((sum, x) => sum + x, 0) - 1) < 1e-3)
      }
    }
    assert.deepEqual(
      curves.map(({ series }) => series.map(({ points }) => points.length)),
      Array(3).fill([12, 12, 12]),
    )
  })

  it('stretches positions where a length needs it, and says so', async () => {
    const { lengths, rows, mainLength } = await done({ lengths: [12, 30], maps: ['elu', 'cosformer'] })
    assert.deepEqual(lengths, [
      { length: 12, stretched: false },
      { length: 30, stretched: true },
    ])
    assert.equal(mainLength, 12)
    assert.ok(rows.filter(({ length }) => length === 30).every(({ values }) => Number.isFinite(values.kl)))
  })

  it('gives a map with positions as many as the longest text needs, and notes it', async () => {
    const { maps } = await done({ lengths: [12, 30], maps: ['cosformer'] })
    assert.equal(maps[1]!.note, 'as cosformer:30')
  })

  it('compares a converted model with softmax on its own weights, beside any map', async () => {
    const converted = linearize(teacher, 'relu', random(5))
    const result = await done({ model: converted, maps: ['elu', 'relu'] })
    const klOf = (name: string) => result.rows.find(({ map }) => map === name)!.values.kl
    assert.deepEqual(
      result.maps.map(({ name, note }) => [name, note]),
      [
        ['softmax', undefined],
        ['converted', 'relu'],
        ['elu', undefined],
        ['relu', undefined],
      ],
    )
    assert.equal(klOf('converted'), klOf('relu'))
    assert.equal(klOf('softmax')! < 1e-6, true)
  })

  it('stops between batches when it is interrupted', async () => {
    const stop = new AbortController()
    const running = inspect({ ...job, maps: ['elu'], signal: stop.signal }, String)
    await running.next()
    stop.abort()
    await assert.rejects(
      async () => finish(running),
      (error) => {
        return error instanceof Interrupted && /measure 5 tokens: stopped after batch 1 of 2/.test(error.message)
      },
    )
  })
})

const mixed = {
  ...teacher,
  config: { ...teacher.config, attention: [planNamed('relu'), planNamed('cosformer:7')] },
}

describe('an inspection that cannot be is refused before any work', () => {
  const cases: readonly [string, Partial<InspectJob>, RegExp][] = [
    ['an unknown map', { maps: ['nope'] }, /feature map nope, want one of hedgehog/],
    ['too few positions', { maps: ['cosformer:7'] }, /cosformer:7: got a length of 12, want at most the 7/],
    [
      'a converted model with too few positions in one of its layers',
      { model: mixed, maps: [] },
      /converted: got a length of 12, want at most the 7/,
    ],
    ['too little text', { lengths: [12, 99] }, /two: too little text, got 60 tokens, want at least 100/],
    [
      'too little text to distil on',
      { distill: { ...distillation, trainTokens: tokens(9, 1) } },
      /text to distil on: batches: too little text, got 9 tokens/,
    ],
    ['lengths that do not rise', { lengths: [5, 5] }, /got the lengths 5, 5, want some, rising/],
    [
      'a window on a bidirectional model',
      { model: { ...teacher, config: { ...teacher.config, causal: false } }, maps: ['hybrid:4'] },
      /hybrid:4\/hedgehog-softmax: got a bidirectional model/,
    ],
  ]
  for (const [what, change, message] of cases) {
    it(what, () => assert.throws(() => checkInspection({ ...job, ...change }), message))
  }
})

it('all maps are those of the table, each in one form and exp-t in both of the paper', () => {
  assert.deepEqual(
    allMaps.filter((name) => !name.startsWith('exp-t')),
    mapNames.filter((name) => name !== 'exp-t'),
  )
  assert.deepEqual(
    allMaps.filter((name) => name.startsWith('exp-t')),
    ['exp-t:1', 'exp-t:2'],
  )
  assert.equal(planName({ kind: 'linear', map: allMaps[0]! }), allMaps[0])
})
