import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { floats, ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import { type Batch, countLabels } from '../../src/execute/objective.ts'
import { gradients } from '../../src/graph/gradient.ts'
import { patchesOf } from '../../src/io/pictures.ts'
import { readConfig } from '../../src/models/families.ts'
import { loadModel } from '../../src/models/folder.ts'
import type { Model } from '../../src/models/model.ts'
import { interpolatedPositions, withImageSide } from '../../src/models/resolution.ts'
import { vit } from '../../src/models/vit.ts'
import { folderSource } from '../../src/node/files.ts'
import { nameOf, noisyModel, plans, wholeInputs, wholeLoss, zerosLike } from '../execute/tiny.ts'
import { readGolden } from '../golden.ts'
import { cut, device, near, normals, run } from '../tensors.ts'

const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})
function open<T extends { dispose(): Promise<void> }>(one: T): T {
  opened.push(one)
  return one
}

const folder = fileURLToPath(new URL('../fixtures/vit-tiny', import.meta.url))
const golden = readGolden('vit-tiny/golden.safetensors')
const { loss: goldenLoss } = JSON.parse(await readFile(`${folder}/golden.json`, 'utf8'))
const model = await loadModel(folderSource(folder))

/** Golden images (b c h w) as patches. */
function patches(name: string) {
  const { shape, data } = golden(name)
  const size = data.length / shape[0]!
  const image = (i: number) => floats(shape.slice(1), Float32Array.from(data.subarray(i * size, (i + 1) * size)))
  return patchesOf(
    Array.from({ length: shape[0]! }, (_, i) => image(i)),
    4,
  )
}

const batch: Batch = { ids: patches('pixels'), labels: ints([3], Int32Array.from(golden('labels').data)) }

async function gradientsOf({ config, params }: Model, given: Batch) {
  const grads = zerosLike(params, Number.NaN)
  const backward = open(createBackward(device, config))
  const loss = await backward.accumulate(params, grads, given, { tokenWeight: 1 / countLabels(given), fresh: true })
  return { loss, grads }
}

describe('vit', () => {
  it('computes the states and class logits that transformers computes', async () => {
    const forward = open(createForward(device, model.config))
    let x = await forward.embed(model.params, batch)
    assert.deepEqual([...x.shape], [3, 10, 24])
    for (const layer of [0, 1, 2]) {
      near(x, golden(`hidden.${layer}`), 2e-5, `hidden.${layer}`)
      if (layer < 2) x = await forward.block(model.params, layer, x, forward.shared(batch))
    }
    near(await forward.classify(model.params, batch), golden('logits'), 2e-5)
  })

  it('has the loss and every gradient that transformers computes', async () => {
    const { loss, grads } = await gradientsOf(model, batch)
    assert.ok(Math.abs(loss - goldenLoss) < 1e-5)
    for (const [path, gradient] of Object.entries(grads)) near(gradient, golden(`grad.${path}`), 2e-5, path)
  })

  it('reads larger images with the interpolated positions of transformers', async () => {
    const large = withImageSide(model, 20)
    near(large.params['embeddings.position_embeddings'], golden('positions'), 2e-6)
    const forward = open(createForward(device, large.config))
    near(await forward.classify(large.params, { ids: patches('large') }), golden('largeLogits'), 2e-5)
    assert.equal(large.params['classifier.weight'], model.params['classifier.weight'])
  })

  it('says what images it wants', async () => {
    const forward = open(createForward(device, model.config))
    await assert.rejects(forward.embed(model.params, { ids: patches('large') }), {
      name: 'RangeError',
      message: /vit: got patches \[1,25,48\], want \[1, 9, 48\]: images of 12×12 pixels in patches of 4/,
    })
    await assert.rejects(forward.hidden(model.params, { ids: floats([1, 9, 47]) }), /want \[1, 9, 48\]/)
    assert.throws(() => withImageSide(model, 22), /got 22 pixels, want a multiple of the patch size 4/)
    const refused = (change: object, message: RegExp) =>
      assert.throws(() => readConfig({ ...model.config.json, ...change }), { message })
    refused({ patch_size: 5 }, /patch_size: got 5, want a divisor of image_size = 12/)
    refused({ image_size: [12, 16] }, /image_size: got \[12,16\], want a whole number/)
  })

  it('keeps its attention at another resolution', () => {
    const student = linearize(model, 'hedgehog-exp', random(1))
    assert.deepEqual(withImageSide(student, 16).config.attention, student.config.attention)
  })
})

describe('interpolated positions', () => {
  const table = normals(random(1), [1, 1 + 9, 2])
  const small = floats([1, 10, 2], Float32Array.from(table.data))

  it('are the same for the same grid', () => near(interpolatedPositions(small, 3), small, 1e-6))

  it('keep the class token, and a grid that is flat', () => {
    const flat = floats([1, 10, 2], small.data.map((x, i) => (i < 2 ? x : i % 2)) as Float32Array)
    const large = interpolatedPositions(flat, 7)
    assert.deepEqual([...large.shape], [1, 50, 2])
    near(cut(large, 1, 0, 1), cut(flat, 1, 0, 1), 0)
    for (let cell = 1; cell < 50; cell++) near(cut(large, 1, cell, cell + 1), { data: [0, 1] }, 1e-6)
  })

  it('refuse positions that are no square', () => {
    assert.throws(() => interpolatedPositions(floats([1, 7, 2]), 3), /got 6 patches, want a square number/)
  })
})

for (const plan of [plans[0]!, ...plans.filter((one) => one.kind === 'linear' && one.map === 'hedgehog-softmax')]) {
  describe(`a vision model with ${nameOf(plan)}`, () => {
    const image = { side: 6, patch: 2, channels: 1 }
    const own = noisyModel(
      vit.configOf({
        layers: 2,
        heads: 2,
        width: 6,
        inner: 10,
        vocab: 0,
        maxLength: 0,
        image,
        labels: 3,
        attention: plan,
      }),
    )
    const { data } = normals(random(3), [2, 9, 4])
    const given: Batch = { ids: floats([2, 9, 4], Float32Array.from(data)), labels: ints([2], [2, 0]) }

    it('has the gradients of the whole model as one float64 graph', async () => {
      const paths = Object.keys(own.params)
      const want = await run(
        (inputs) => {
          const d = gradients(
            wholeLoss(own.config, inputs),
            paths.map((path) => inputs[`m.${path}`]!),
          )
          return Object.fromEntries(paths.map((path, i) => [path, d[i]!]))
        },
        wholeInputs(own.params, given, 1 / 2),
      )
      const { grads } = await gradientsOf(own, given)
      for (const path of paths) near(grads[path], want[path], 5e-5, path)
    })

    it('reads each image as it reads it alone, and trains with dropout', async () => {
      const forward = open(createForward(device, own.config))
      const whole = await forward.classify(own.params, given)
      for (const row of [0, 1]) {
        const alone = { ids: cut(given.ids, 0, row, row + 1) }
        near(cut(whole, 0, row, row + 1), await forward.classify(own.params, alone), 1e-5)
      }
      const backward = open(createBackward(device, own.config, { dropout: 0.2 }))
      const how = { tokenWeight: 0.5, fresh: true, rng: random(1) }
      assert.ok(Number.isFinite(await backward.accumulate(own.params, zerosLike(own.params), given, how)))
    })
  })
}
