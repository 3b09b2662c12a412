import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import type { AttentionPlan } from '../../src/attention/plan.ts'
import { type FloatArray, floats, ints, type NDArray, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { type BackwardOptions, createBackward } from '../../src/execute/backward.ts'
import { gradients } from '../../src/graph/gradient.ts'
import type { Model } from '../../src/models/model.ts'
import { compile } from '../../src/runtime/compile.ts'
import type { Device } from '../../src/runtime/device.ts'
import { cut, device, dot, near, normals, run } from '../tensors.ts'
import { counted, nameOf, plans, tinyBatch, tinyModel, wholeInputs, wholeLoss, zerosLike } from './tiny.ts'

const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})

function backwardOf({ config }: Model, options: BackwardOptions = {}, on: Device = device) {
  const backward = createBackward(on, config, options)
  opened.push(backward)
  return backward
}

const batch = tinyBatch(2, 9)
const how = { tokenWeight: 1 / counted(batch), fresh: true }
const softmax: AttentionPlan = { kind: 'softmax' }
const linear: AttentionPlan = { kind: 'linear', map: 'hedgehog-exp' }

async function gradientsOf(model: Model, options: BackwardOptions = {}): Promise<{ loss: number; grads: Params }> {
  const grads = zerosLike(model.params)
  const loss = await backwardOf(model, options).accumulate(model.params, grads, batch, { ...how, rng: random(4) })
  return { loss, grads }
}

function allNear(got: Params, want: Readonly<Record<string, NDArray>>, tolerance: number): void {
  for (const [path, gradient] of Object.entries(got)) near(gradient, want[path], tolerance, path)
}

for (const plan of plans) {
  describe(`gradients of a model with ${nameOf(plan)}`, () => {
    const model = tinyModel(plan)
    const { config, params } = model

    it('are those of the whole model as one float64 graph', async () => {
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
        wholeInputs(params, batch, how.tokenWeight),
      )
      const { loss, grads } = await gradientsOf(model)
      assert.ok(Math.abs(loss - total!.data[0]!) < 1e-5)
      allNear(grads, want, 2e-5)
    })

    it('are central differences of the loss along random directions', async () => {
      const { grads } = await gradientsOf(model)
      const value = compile(device, (inputs) => ({ loss: wholeLoss(config, inputs) }))
      opened.push(value)
      const inputs = wholeInputs(params, batch, how.tokenWeight)
      // The differences are taken in float64: a step of 1e-7 is wrong by about 1e-9 and rarely crosses a kink of relu.
      // What is left of the tolerance is for the gradients, which are float32.
      const step = 1e-7
      for (const seed of [5, 6, 7]) {
        const direction = Object.fromEntries(
          Object.entries(grads).map(([path, { shape }]) => [path, normals(random(seed).split(path), shape)]),
        )
        const at = async (by: number) => {
          const moved = Object.entries(inputs).map(([name, array]) => {
            const along = direction[name.slice(2)]
            return [
              name,
              along ? { ...array, data: Float64Array.from(array.data, (x, i) => x + by * along.data[i]!) } : array,
            ]
          })
          return (await value(Object.fromEntries(moved))).loss!.data[0]!
        }
        const slope = ((await at(step)) - (await at(-step))) / (2 * step)
        const expected = Object.entries(grads).reduce(
          (sum, [path, gradient]) => sum + dot(gradient, direction[path]!),
          0,
        )
        assert.ok(Math.abs(slope - expected) < 1e-4 * (1 + Math.abs(slope)), `${expected}, want ${slope}`)
      }
    })

    it('do not depend on what the forward pass keeps, with dropout or without', async () => {
      for (const dropout of [0, 0.3]) {
        const want = await gradientsOf(model, { dropout })
        for (const saved of [[], ['attended'], ['qkv', 'inner']]) {
          const found = await gradientsOf(model, { dropout, saved })
          assert.ok(Math.abs(found.loss - want.loss) < 1e-6)
          allNear(found.grads, want.grads, 1e-6)
        }
      }
    })

    it('do not depend on which other parameters are frozen', async () => {
      const { loss, grads } = await gradientsOf(model)
      const backward = backwardOf(model)
      const choices = [/feature_map|ln_1/, /wpe|c_attn.bias/, /wte/, /^h\.1/, /^nothing/]
      for (const choice of choices) {
        for (const fresh of [true, false]) {
          const some = zerosLike(Object.fromEntries(Object.entries(params).filter(([path]) => choice.test(path))))
          const found = await backward.accumulate(params, some, batch, { ...how, fresh })
          assert.ok(Math.abs(found - loss) < 1e-6)
          allNear(some, grads, 1e-6)
        }
      }
    })
  })
}

describe('accumulate', () => {
  const model = tinyModel(linear)

  it('writes over whatever stood in the gradients when fresh, and changes no parameter', async () => {
    const { params } = model
    const before = Object.fromEntries(
      Object.entries(params).map(([path, { shape, data }]) => [path, { shape, data: data.slice() }]),
    )
    const { grads } = await gradientsOf(model)
    const backward = backwardOf(model)
    const garbage = zerosLike(params, Number.NaN)
    for (const _ of [0, 1]) {
      await backward.accumulate(params, garbage, batch, how)
      allNear(garbage, grads, 1e-6)
    }
    for (const [path, { data }] of Object.entries(params)) assert.deepEqual(data, before[path]!.data)
  })

  it('of parts gives what the whole gives, each token counting one over all that count', async () => {
    for (const plan of [softmax, linear]) {
      const own = tinyModel(plan)
      const large = tinyBatch(5, 7)
      const tokenWeight = 1 / counted(large)
      const whole = zerosLike(own.params)
      const wholeLoss = await backwardOf(own).accumulate(own.params, whole, large, { tokenWeight, fresh: true })
      const parts = zerosLike(own.params, Number.NaN)
      const backward = backwardOf(own)
      let loss = 0
      for (const [start, end] of [
        [0, 2],
        [2, 3],
        [3, 5],
      ] as const) {
        const part = { ids: cut(large.ids, 0, start, end), labels: cut(large.labels, 0, start, end) }
        loss += await backward.accumulate(own.params, parts, part, { tokenWeight, fresh: start === 0 })
      }
      assert.ok(Math.abs(loss - wholeLoss) < 1e-6)
      allNear(parts, whole, 2e-6)
    }
  })

  it('of more rows than the output layer takes at once gives what its parts give', async () => {
    const own = tinyModel(linear, 1, 400)
    const large = tinyBatch(3, 400)
    const tokenWeight = 1 / counted(large)
    const [whole, parts] = [zerosLike(own.params), zerosLike(own.params)]
    const loss = await backwardOf(own).accumulate(own.params, whole, large, { tokenWeight, fresh: true })
    const backward = backwardOf(own)
    let sum = 0
    for (const row of [0, 1, 2]) {
      const part = { ids: cut(large.ids, 0, row, row + 1), labels: cut(large.labels, 0, row, row + 1) }
      sum += await backward.accumulate(own.params, parts, part, { tokenWeight })
    }
    assert.ok(Math.abs(loss - sum) < 1e-5)
    allNear(whole, parts, 1e-5)
  })

  it('takes nothing from tokens whose label does not count', async () => {
    const { grads } = await gradientsOf(model)
    const found = zerosLike(model.params)
    const labels = ints(
      batch.labels.shape,
      Int32Array.from(batch.labels.data, (label) => (label < 0 ? -1 : label)),
    )
    await backwardOf(model).accumulate(model.params, found, { ids: batch.ids, labels }, how)
    allNear(found, grads, 0)
    const nothing = ints(
      batch.labels.shape,
      Int32Array.from(batch.labels.data, () => -100),
    )
    const loss = await backwardOf(model).accumulate(model.params, found, { ids: batch.ids, labels: nothing }, how)
    assert.equal(loss, 0)
    for (const { data } of Object.values(found)) assert.ok(data.every((x) => x === 0))
  })

  it('says so when the loss is not a number', async () => {
    const broken: Params = { ...model.params, 'ln_f.weight': nans(model.params['ln_f.weight']!) }
    const refused = backwardOf(model).accumulate(broken, zerosLike(broken), batch, how)
    await assert.rejects(refused, /loss: got NaN: the parameter ln_f\.weight has NaN at element 0 of 6; lower the/)
    const path = 'h.1.mlp.c_fc.bias'
    const late: Params = { ...model.params, [path]: nans(model.params[path]!) }
    const named = /the parameter h\.1\.mlp\.c_fc\.bias of layer 1 has NaN/
    await assert.rejects(backwardOf(model).accumulate(late, zerosLike(late), batch, how), named)
  })

  it('says which layer it is that overflows', async () => {
    const path = 'h.1.mlp.c_proj.weight'
    const { shape, data } = model.params[path]!
    const huge: Params = {
      ...model.params,
      [path]: floats(
        shape,
        data.map((x) => Math.sign(x) * 3e38),
      ),
    }
    const named =
      /loss: got NaN: layer 1 \(h\.1\.\) makes finite states into (NaN|-?Infinity) at element \d+ of \d+; lower/
    await assert.rejects(backwardOf(model).accumulate(huge, zerosLike(huge), batch, how), named)
  })
})

describe('dropout', () => {
  const model = tinyModel(linear)

  it('of rate 0 is none', async () => {
    const [none, zero] = [await gradientsOf(model), await gradientsOf(model, { dropout: 0 })]
    assert.equal(zero.loss, none.loss)
    allNear(zero.grads, none.grads, 0)
  })

  it('is the same for the same random stream, and another for another', async () => {
    const backward = backwardOf(model, { dropout: 0.4 })
    const losses: number[] = []
    const grads = [zerosLike(model.params), zerosLike(model.params), zerosLike(model.params)] as const
    for (const [i, seed] of [8, 8, 9].entries()) {
      losses.push(await backward.accumulate(model.params, grads[i]!, batch, { ...how, rng: random(seed) }))
    }
    assert.equal(losses[0], losses[1])
    assert.notEqual(losses[0], losses[2])
    allNear(grads[0], grads[1], 0)
  })

  it('asks for a random stream', async () => {
    const refused = backwardOf(model, { dropout: 0.4 }).accumulate(model.params, zerosLike(model.params), batch, how)
    await assert.rejects(refused, { name: 'TypeError', message: /dropout is on; pass a random stream/ })
  })
})

describe('compiled functions', () => {
  /** How many sessions two training steps open. */
  async function sessions(attention: readonly AttentionPlan[]): Promise<number> {
    let count = 0
    const counting: Device = {
      name: 'counting',
      open(model) {
        count += 1
        return device.open(model)
      },
    }
    const { config, params } = tinyModel(linear, attention.length)
    const model = { config: { ...config, attention }, params }
    const backward = backwardOf(model, {}, counting)
    for (const fresh of [true, false]) await backward.accumulate(params, zerosLike(params), batch, { ...how, fresh })
    return count
  }

  it('are no more for many layers than for one, and two more for each kind of block', async () => {
    const one = await sessions([linear])
    assert.equal(await sessions(Array(5).fill(linear)), one)
    assert.equal(await sessions([{ kind: 'linear', map: 'hedgehog-softmax' }, linear, linear]), one + 2)
  })
})

function nans({ shape, data }: FloatArray): FloatArray {
  return { dtype: 'float32', shape, data: data.map(() => Number.NaN) }
}
