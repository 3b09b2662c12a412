import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { floats, ints, type NDArray, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import { type Batch, countLabels } from '../../src/execute/objective.ts'
import { gradients } from '../../src/graph/gradient.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import type { Model, Task } from '../../src/models/model.ts'
import { compile } from '../../src/runtime/compile.ts'
import { cut, device, dot, near, normals, run } from '../tensors.ts'
import { nameOf, noisyModel, plans, tinyBatch, wholeInputs, wholeLoss, zerosLike } from './tiny.ts'

const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})
function open<T extends { dispose(): Promise<void> }>(one: T): T {
  opened.push(one)
  return one
}

const sizes = { layers: 2, heads: 2, width: 6, vocab: 11, maxLength: 12, labels: 3 }
const modelFor = (task: Task, attention = plans[0]!): Model => noisyModel(gpt2.configOf({ ...sizes, task, attention }))

/** Three sequences of 7, 4 and 5 real tokens. */
const keyMask = floats(
  [3, 7],
  [7, 4, 5].flatMap((real) => Array.from({ length: 7 }, (_, i) => (i < real ? 1 : 0))),
)
const { ids } = tinyBatch(3, 7)
const batches: Readonly<Record<'classification' | 'regression', Batch>> = {
  classification: { ids, keyMask, labels: ints([3], [2, -1, 1]) },
  regression: { ids, keyMask, labels: floats([3], [-0.5, 2, 0]) },
}

async function gradientsOf({ config, params }: Model, batch: Batch): Promise<{ loss: number; grads: Params }> {
  const grads = zerosLike(params, Number.NaN)
  const backward = open(createBackward(device, config))
  const how = { tokenWeight: 1 / countLabels(batch), fresh: true }
  return { loss: await backward.accumulate(params, grads, batch, how), grads }
}

for (const task of ['classification', 'regression'] as const) {
  for (const plan of plans) {
    describe(`${task} with ${nameOf(plan)}`, () => {
      const model = modelFor(task, plan)
      const { config, params } = model
      const batch = batches[task]

      it('has the loss and every gradient of the whole model as one float64 graph', async () => {
        const paths = Object.keys(params)
        const { total, ...want } = await run(
          (inputs) => {
            const loss = wholeLoss(config, inputs)
            const d = gradients(
              loss,
              paths.map((path) => inputs[`m.${path}`]!),
            )
            return { total: loss, ...Object.fromEntries(paths.map((path, i) => [path, d[i]!])) }
          },
          wholeInputs(params, batch, 1 / countLabels(batch)),
        )
        const { loss, grads } = await gradientsOf(model, batch)
        assert.ok(Math.abs(loss - total!.data[0]!) < 1e-5)
        for (const path of paths) near(grads[path], want[path], 2e-5, path)
      })

      it('reads a batch of sequences of different length as it reads each alone', async () => {
        const forward = open(createForward(device, config))
        const whole = await forward.classify(params, batch)
        assert.deepEqual([...whole.shape], [3, config.labels])
        for (const [row, real] of [7, 4, 5].entries()) {
          const alone = await forward.classify(params, { ids: cut(cut(ids, 0, row, row + 1), 1, 0, real) })
          near(cut(whole, 0, row, row + 1), alone, 1e-5)
        }
      })
    })
  }
}

describe('the gradient of a classification loss', () => {
  it('is central differences of it in float64', async () => {
    const { config, params } = modelFor('classification')
    const batch = batches.classification
    const { grads } = await gradientsOf({ config, params }, batch)
    const value = open(compile(device, (inputs) => ({ loss: wholeLoss(config, inputs) })))
    const inputs = wholeInputs(params, batch, 1 / countLabels(batch))
    const along = Object.fromEntries(
      Object.entries(grads).map(([path, { shape }]) => [path, normals(random(5).split(path), shape)]),
    )
    const at = async (by: number) => {
      const moved = Object.entries(inputs).map(([name, array]): [string, NDArray] => {
        const direction = along[name.slice(2)]
        if (!direction) return [name, array]
        return [name, { ...array, data: Float64Array.from(array.data, (x, i) => x + by * direction.data[i]!) }]
      })
      return (await value(Object.fromEntries(moved))).loss!.data[0]!
    }
    const slope = ((await at(1e-6)) - (await at(-1e-6))) / 2e-6
    const expected = Object.entries(grads).reduce((sum, [path, gradient]) => sum + dot(gradient, along[path]!), 0)
    assert.ok(Math.abs(slope - expected) < 1e-5 * (1 + Math.abs(slope)), `${expected}, want ${slope}`)
  })
})

describe('padding', () => {
  for (const plan of plans) {
    it(`never changes the state of a real position with ${nameOf(plan)}, whatever it holds`, async () => {
      const { config, params } = modelFor('language', plan)
      const forward = open(createForward(device, config))
      const want = await forward.hidden(params, { ids, keyMask })
      const others = ints(
        ids.shape,
        Int32Array.from(ids.data, (id, i) => (keyMask.data[i] ? id : (id + 5) % 11)),
      )
      const found = await forward.hidden(params, { ids: others, keyMask })
      for (const [at, real] of keyMask.data.entries()) {
        if (real) near(cut(found, 0, at, at + 1), cut(want, 0, at, at + 1), 1e-6)
      }
    })
  }

  it('of another shape than the ids is refused', async () => {
    const { config, params } = modelFor('language')
    const forward = open(createForward(device, config))
    await assert.rejects(forward.hidden(params, { ids, keyMask: floats([3, 6]) }), {
      name: 'RangeError',
      message: /keyMask: got shape \[3,6\], want \[3,7\]/,
    })
  })
})

describe('a loss of few labels', () => {
  it('is that of all rows, with the same gradients', async () => {
    const model = modelFor('language')
    const all = tinyBatch(3, 9)
    const few = {
      ...all,
      labels: ints([3, 9], all.labels.data.map((label, i) => (i % 9 === 4 ? label : -100)) as Int32Array),
    }
    const paths = Object.keys(model.params)
    const { total, ...want } = await run(
      (inputs) => {
        const loss = wholeLoss(model.config, inputs)
        const d = gradients(
          loss,
          paths.map((path) => inputs[`m.${path}`]!),
        )
        return { total: loss, ...Object.fromEntries(paths.map((path, i) => [path, d[i]!])) }
      },
      wholeInputs(model.params, few, 1 / countLabels(few)),
    )
    const { loss, grads } = await gradientsOf(model, few)
    assert.ok(Math.abs(loss - total!.data[0]!) < 1e-5)
    for (const path of paths) near(grads[path], want[path], 2e-5, path)
  })
})

describe('a model of another task', () => {
  it('refuses what its task does not have', async () => {
    const language = modelFor('language')
    const classifier = modelFor('classification')
    const reads = open(createForward(device, classifier.config))
    const h = await reads.hidden(classifier.params, { ids })
    await assert.rejects(reads.logits(classifier.params, h), /logits: got a model for classification, want a language/)
    const other = open(createForward(device, language.config))
    await assert.rejects(other.classify(language.params, { ids }), /classify: got a model for language/)
    assert.throws(() => createBackward(device, modelFor('features').config), /features has no loss.*withTask/)
  })

  it('refuses labels of another kind, number or class', async () => {
    const classifier = modelFor('classification')
    const refused = (labels: NDArray) => gradientsOf(classifier, { ids, labels })
    await assert.rejects(refused(ints([3], [0, 1, 3])), /got class 3, want 0 to 2/)
    await assert.rejects(refused(ints([2], [0, 1])), /want one for each of 3 sequences/)
    await assert.rejects(refused(floats([3], [0, 1, 2])), /got labels of float32, want int32/)
  })
})

describe('createBackward', () => {
  it('refuses a dropout that is no rate below 1', () => {
    for (const dropout of [-0.1, 1, 1.5, Number.NaN]) {
      assert.throws(() => createBackward(device, modelFor('language').config, { dropout }), {
        name: 'RangeError',
        message: /got dropout .*, want a rate from 0 and below 1/,
      })
    }
  })
})
