/** A conversion whose weights are read block by block, beside the same one in memory. */

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { isMapPath } from '../../src/attention/mapParams.ts'
import type { FloatArray, Params } from '../../src/base/array.ts'
import { finish } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { type Conversion, type ConvertJob, convert } from '../../src/convert/convert.ts'
import { reportOf } from '../../src/convert/report.ts'
import type { BlockSource } from '../../src/execute/blocks.ts'
import type { StateStore } from '../../src/execute/states.ts'
import { isAdapterPath } from '../../src/models/adapter.ts'
import { filesOf, layerOf, withParams } from '../../src/models/files.ts'
import { below } from '../../src/nn/params.ts'
import type { Report } from '../../src/report/types.ts'
import { mergedFiles } from '../../src/train/mergeLora.ts'
import { tinyModel } from '../execute/tiny.ts'
import { device, near } from '../tensors.ts'

const teacher = tinyModel({ kind: 'softmax' }, 3)
const outer = Object.fromEntries(
  Object.entries(teacher.params).filter(([path]) => layerOf(teacher.config, path) === undefined),
)
/** Blocks that are good until the block after the next is asked for, as those from files are. */
function lent(): BlockSource {
  const slots: { layer: number; params: Params }[] = []
  return {
    async block(layer, next) {
      const spoilt = slots.filter((slot) => slot.layer !== layer && slot.layer !== next)
      for (const slot of spoilt) {
        for (const { data } of Object.values(slot.params)) data.fill(Number.NaN)
        slots.splice(slots.indexOf(slot), 1)
      }
      const known = slots.find((slot) => slot.layer === layer)
      if (known) return known.params
      const params = structuredClone(below(`h.${layer}.`, teacher.params))
      slots.push({ layer, params })
      return params
    },
  }
}

const text = (name: string, length: number) => {
  const rng = random(7).split(name)
  return Int32Array.from({ length }, (_, i) => (i % 3 === 0 ? 5 : rng.integer(11)))
}
const shape = { length: 12, batch: 2, seed: 0 }
const jobOf = (changes: Partial<ConvertJob> = {}): ConvertJob => ({
  device,
  teacher,
  trainTokens: text('train', 400),
  validationTokens: text('validation', 100),
  testTokens: text('test', 150),
  map: 'hybrid:4',
  compare: ['t2r'],
  distill: { ...shape, steps: 4, learningRate: 3e-2, loss: 'both', updates: 2 },
  finetune: { ...shape, steps: 3, learningRate: 1e-2 },
  lora: { rank: 2 },
  fidelityBatches: 2,
  seed: 0,
  clock: () => 0,
  ...changes,
})
/** States between blocks that a finetuning stored, and had back. */
const counts = { stored: 0, read: 0 }
function stored(): StateStore {
  const known = new Map<number, FloatArray>()
  return {
    async write(layer, states) {
      counts.stored += 1
      known.set(layer, structuredClone(states))
    },
    async read(layer) {
      counts.read += 1
      return known.get(layer)!
    },
  }
}

const streamed = { teacher: { config: teacher.config, params: outer }, blocks: lent(), states: stored() }

/** Whether two values of JSON are equal but for numbers, which are close. */
function close(got: unknown, want: unknown, where = ''): void {
  if (typeof want === 'number') {
    assert.ok(Math.abs((got as number) - want) <= 2e-5 * (1 + Math.abs(want)), `${where}: ${got}, want ${want}`)
  } else if (typeof want === 'object' && want !== null) {
    assert.deepEqual(Object.keys(got as object), Object.keys(want), where)
    for (const [key, value] of Object.entries(want)) close((got as never)[key], value, `${where}.${key}`)
  } else assert.deepEqual(got, want, where)
}

let [whole, parts]: Conversion[] = []
before(async () => {
  whole = await finish(convert(jobOf()))
  parts = await finish(convert(jobOf(streamed)))
})

describe('a conversion of blocks that are read as they are needed', () => {
  it('has the rows, curves and heads of the one in memory', () => {
    const plain = ({ entries, curves }: Conversion) => ({
      rows: entries.map(({ model: _, ...entry }) => entry),
      curves,
    })
    close(plain(parts!), plain(whole!))
    // Of three layers, in three steps of the teacher, the model and the map beside it.
    assert.deepEqual(counts, { stored: 27, read: 27 })
  })

  it('has its report, maps and curves of attention among it', async () => {
    const facts = { name: 'tiny', command: 'hedgehog', seconds: 1, versions: {} }
    const of = (job: ConvertJob, conversion: Conversion): Promise<Report> =>
      reportOf(job, conversion, facts, (id) => `<${id}>`)
    close(await of(jobOf(streamed), parts!), await of(jobOf(), whole!))
  })

  it('keeps of its model what learned and what is outside of blocks, and is the same when it is merged', async () => {
    const { config, params } = parts!.model
    const left = Object.keys(params).filter((path) => !isMapPath(path) && !isAdapterPath(path))
    assert.deepEqual(left.sort(), Object.keys(outer).sort())
    const merged = await mergedFiles(device, withParams(filesOf(teacher), { config, params }))
    assert.deepEqual(merged.config, whole!.model.config)
    assert.deepEqual([...merged.paths].sort(), Object.keys(whole!.model.params).sort())
    for (const path of merged.paths) near(await merged.read(path), whole!.model.params[path], 1e-5, path)
    await merged.dispose()
  })

  it('refuses to learn all weights, before it begins', async () => {
    const { lora: _, ...job } = jobOf(streamed)
    await assert.rejects(convert(job).next(), {
      name: 'RangeError',
      message: /^convert: weights that are read as they are needed do not learn; want an adapter \(lora\), or no steps/,
    })
  })
})
