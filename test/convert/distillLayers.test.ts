/** Distillation of some layers: each is a problem of its own, whichever others are distilled beside it. */

import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { isMapPath } from '../../src/attention/mapParams.ts'
import { floats, type Params } from '../../src/base/array.ts'
import { finish } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { createDistillation, type DistillationOptions } from '../../src/convert/distill.ts'
import { linearize } from '../../src/convert/linearize.ts'
import type { BlockSource } from '../../src/execute/blocks.ts'
import { batches } from '../../src/io/batches.ts'
import { layerOf } from '../../src/models/files.ts'
import { below } from '../../src/nn/params.ts'
import { adamw } from '../../src/train/optimizers.ts'
import { train } from '../../src/train/train.ts'
import { tinyBatch, tinyModel } from '../execute/tiny.ts'
import { device } from '../tensors.ts'

const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})

const student = linearize(tinyModel({ kind: 'softmax' }, 3), 'hedgehog-exp', random(1))
const { config } = student
const all = { first: 0, end: 3 }
const batch = tinyBatch(2, 6)

function open(options: DistillationOptions) {
  const objective = createDistillation(device, config, options)
  opened.push(objective)
  return objective
}

/** A student's parameters with the maps of some layers only. */
function within({ first, end }: { first: number; end: number }, params: Params = student.params): Params {
  const isThere = (path: string) => {
    const layer = layerOf(config, path)
    return !isMapPath(path) || (layer! >= first && layer! < end)
  }
  return Object.fromEntries(Object.entries(params).filter(([path]) => isThere(path)))
}

async function learned(options: DistillationOptions, params: Params) {
  const tokens = Int32Array.from({ length: 200 }, (_, i) => (7 * i + (i >> 2)) % 11)
  const job = train(open(options), params, {
    phase: 'distill',
    steps: 4,
    batches: batches(tokens, { length: 6, batch: 2, seed: 3 }),
    optimizer: adamw({ weightDecay: 0 }),
    // Gradients of one layer and of another are clipped, as they would not be together.
    clip: 0.05,
    learningRate: 0.02,
    trains: isMapPath,
    clock: () => 0,
  })
  const done = await finish(job)
  return Object.fromEntries(Object.entries(done.params).filter(([path]) => isMapPath(path)))
}

describe('distillation of some layers', () => {
  for (const updates of [1, 3]) {
    it(`gives the maps that they have among others, to the bit, with ${updates} updates`, async () => {
      const whole = await learned({ updates, apart: true }, student.params)
      for (const layers of [
        { first: 0, end: 1 },
        { first: 1, end: 3 },
      ]) {
        const part = await learned({ updates, apart: true, layers }, within(layers))
        assert.deepEqual(part, within(layers, whole))
      }
      for (const [path, { data }] of Object.entries(whole)) {
        assert.notDeepEqual(data, student.params[path]!.data, path)
      }
    })

    it(`gives the same from weights that are read block by block, with ${updates} updates`, async () => {
      const outer = Object.entries(student.params).filter(
        ([path]) => isMapPath(path) || layerOf(config, path) === undefined,
      )
      const asked: number[] = []
      const blocks: BlockSource = {
        async block(layer, next) {
          asked.push(layer)
          assert.equal(next, (layer + 1) % 3)
          return below(`h.${layer}.`, within({ first: 0, end: 0 }))
        },
      }
      for (const apart of [true, false]) {
        const want = await learned({ updates, apart }, student.params)
        assert.deepEqual(await learned({ updates, apart, blocks }, Object.fromEntries(outer)), want)
      }
      // Each block is read once in a pass.
      assert.deepEqual(asked.slice(0, 6), [0, 1, 2, 0, 1, 2])
    })
  }

  it('measures each layer, apart from others and together with them', async () => {
    const together = await open({}).measure(student.params, [batch])
    const apart = await open({ apart: true }).measure(student.params, [batch])
    assert.equal(together.length, 3)
    for (const [layer, loss] of apart.entries()) {
      assert.ok(Math.abs(loss - together[layer]!) < 1e-5)
      const layers = { first: layer, end: layer + 1 }
      assert.deepEqual(await open({ apart: true, layers }).measure(within(layers), [batch]), [loss])
      const [alone] = await open({ layers }).measure(within(layers), [batch])
      assert.ok(Math.abs(alone! - loss) < 1e-5)
    }
  })

  it('gives the mean loss of its layers, and apart the gradients of each whole', async () => {
    const maps = Object.entries(student.params).filter(([path]) => isMapPath(path))
    const zeros = () => Object.fromEntries(maps.map(([path, { shape }]) => [path, floats(shape)] as const))
    const [grads, mean] = [zeros(), zeros()]
    const how = { tokenWeight: 1 / 12, fresh: true }
    const own = await open({ apart: true }).accumulate(student.params, grads, batch, how)
    const shared = await open({}).accumulate(student.params, mean, batch, how)
    assert.ok(Math.abs(own - shared) < 1e-5)
    for (const [path, { data }] of Object.entries(grads)) {
      for (const [i, value] of data.entries()) {
        const want = 3 * mean[path]!.data[i]!
        assert.ok(Math.abs(value - want) < 1e-4 * (1 + Math.abs(want)), path)
      }
    }
  })

  it('refuses a range that has no layers of the model', () => {
    assert.throws(() => createDistillation(device, config, { layers: { first: 2, end: 4 } }), {
      name: 'RangeError',
      message: /layers 2 to 4, want some of the model's 3/,
    })
    assert.doesNotThrow(() => open({ layers: all }))
  })
})
