import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, describe, it } from 'node:test'
import { type FloatArray, floats, ints, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import { checkParams, paramSpecs, readConfig, withTask } from '../../src/models/families.ts'
import { openDevice } from '../../src/node/device.ts'
import { clip } from '../../src/train/clip.ts'
import { adamw, createSlots } from '../../src/train/optimizers.ts'
import { readGolden } from '../golden.ts'

const folder = new URL('../fixtures/gpt2-tiny/', import.meta.url)
const config = readConfig(JSON.parse(await readFile(new URL('config.json', folder), 'utf8')))
const weights = readGolden('gpt2-tiny/model.safetensors')
const golden = readGolden('gpt2-tiny/golden.safetensors')
const { loss: goldenLoss, training } = JSON.parse(await readFile(new URL('golden.json', folder), 'utf8'))

const params: Params = Object.fromEntries(
  Object.keys(paramSpecs(config)).map((path) => {
    const { shape, data } = weights(`transformer.${path}`)
    return [path, floats(shape, Float32Array.from(data))]
  }),
)
const ids = ints([2, 17], Int32Array.from(golden('ids').data))
const labels = ints([2, 17], Int32Array.from(golden('labels').data))
const device = await openDevice('cpu')

describe('gpt2', () => {
  const forward = createForward(device, config)
  after(() => forward.dispose())

  it('asks for exactly the tensors of a Hugging Face checkpoint', () => checkParams('fixture', config, params))

  it('computes the logits and the loss that transformers computes', async () => {
    const h = await forward.hidden(params, { ids })
    close((await forward.logits(params, h)).data, golden('logits').data, 1e-4)
    const losses = await forward.losses(params, h, labels)
    assert.ok(Math.abs(mean(losses) - goldenLoss) < 1e-5)
  })

  for (const saved of [['qkv', 'attended', 'middle', 'inner'], [], ['qkv']]) {
    it(`has every gradient that torch computes when it keeps ${saved.join(', ') || 'nothing'}`, async () => {
      const backward = createBackward(device, config, { saved })
      const grads = zerosLike(params)
      const loss = await backward.accumulate(
        params,
        grads,
        { ids, labels },
        { tokenWeight: 1 / ids.data.length, fresh: true },
      )
      assert.ok(Math.abs(loss - goldenLoss) < 1e-5)
      for (const [path, gradient] of Object.entries(grads))
        close(gradient.data, golden(`grad.${path}`).data, 1e-5, path)
      await backward.dispose()
    })
  }

  it('gives the same gradients whether added up or written over', async () => {
    const backward = createBackward(device, config)
    const [twice, once] = [zerosLike(params), zerosLike(params)]
    const weight = 1 / (2 * ids.data.length)
    for (const _ of [0, 1]) await backward.accumulate(params, twice, { ids, labels }, { tokenWeight: weight })
    for (const _ of [0, 1])
      await backward.accumulate(params, once, { ids, labels }, { tokenWeight: 2 * weight, fresh: true })
    for (const path of Object.keys(params)) close(twice[path]!.data, once[path]!.data, 1e-6, path)
    await backward.dispose()
  })

  it('follows torch AdamW through ten steps', async () => {
    const backward = createBackward(device, config)
    const own = Object.fromEntries(Object.entries(params).map(([path, p]) => [path, floats(p.shape, p.data.slice())]))
    const grads = zerosLike(own)
    const optimizer = adamw({ weightDecay: 0.01, decays: () => true })
    const slots = createSlots(optimizer, own)
    for (let step = 1; step <= 10; step++) {
      const loss = await backward.accumulate(
        own,
        grads,
        { ids, labels },
        { tokenWeight: 1 / ids.data.length, fresh: true },
      )
      assert.ok(
        Math.abs(loss - training.losses[step - 1]) < 2e-4,
        `step ${step}: ${loss}, torch ${training.losses[step - 1]}`,
      )
      const { gradScale } = clip(grads, { maxNorm: 1 })
      optimizer.step({ params: own, grads, slots, step, learningRate: 1e-3, gradScale })
    }
    await backward.dispose()
  })
})

describe('gpt2 for classes', () => {
  it('reads the class at the last real token, with the loss and gradients of transformers', async () => {
    const golden = JSON.parse(await readFile(new URL('classes.json', folder), 'utf8'))
    const language = { config, params }
    const { config: own, params: shared } = withTask(language, { task: 'classification', labels: 3 }, random(0))
    const all = { ...shared, 'score.weight': floats([3, 24], golden.score.flat()) }
    const mask = golden.lengths.flatMap((real: number) => Array.from({ length: 8 }, (_, i) => (i < real ? 1 : 0)))
    const batch = {
      ids: ints([4, 8], golden.ids.flat()),
      keyMask: floats([4, 8], mask),
      labels: ints([4], golden.labels),
    }
    const forward = createForward(device, own)
    close((await forward.classify(all, batch)).data, golden.logits.flat(), 2e-5)
    const backward = createBackward(device, own)
    const grads = zerosLike(all)
    const loss = await backward.accumulate(all, grads, batch, { tokenWeight: 1 / 4 })
    assert.ok(Math.abs(loss - golden.loss) < 1e-5)
    for (const path of ['score.weight', 'ln_f.weight'])
      close(grads[path]!.data, golden.gradients[path].flat(), 1e-5, path)
    await forward.dispose()
    await backward.dispose()
  })
})

function zerosLike(like: Params): Record<string, FloatArray> {
  return Object.fromEntries(Object.entries(like).map(([path, { shape }]) => [path, floats(shape)]))
}

function mean(values: Float32Array): number {
  return values.reduce((a, b) => a + b, 0) / values.length
}

function close(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number, what = ''): void {
  assert.equal(got.length, want.length)
  for (let i = 0; i < got.length; i++) {
    assert.ok(
      Math.abs(got[i]! - want[i]!) <= tolerance * (1 + Math.abs(want[i]!)),
      `${what}[${i}]: ${got[i]}, want ${want[i]}`,
    )
  }
}
