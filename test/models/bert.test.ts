import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type FloatArray, floats, ints, type NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import { type Batch, countLabels } from '../../src/execute/objective.ts'
import { gradients } from '../../src/graph/gradient.ts'
import { bert } from '../../src/models/bert.ts'
import { readConfig } from '../../src/models/families.ts'
import { loadModel } from '../../src/models/folder.ts'
import type { Model } from '../../src/models/model.ts'
import { folderSource } from '../../src/node/files.ts'
import { nameOf, noisyModel, plans, wholeInputs, wholeLoss, zerosLike } from '../execute/tiny.ts'
import { readGolden } from '../golden.ts'
import { cut, device, near, run } from '../tensors.ts'

const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})
function open<T extends { dispose(): Promise<void> }>(one: T): T {
  opened.push(one)
  return one
}

const lengths = [13, 9, 5]

async function fixture(name: string) {
  const folder = fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))
  const golden = readGolden(`${name}/golden.safetensors`)
  const whole = (key: string) => ints(golden(key).shape, Int32Array.from(golden(key).data))
  const batch: Batch = {
    ids: whole('ids'),
    types: whole('types'),
    keyMask: floats(golden('keyMask').shape, Float32Array.from(golden('keyMask').data)),
    labels: whole('labels'),
  }
  const values = JSON.parse(await readFile(`${folder}/golden.json`, 'utf8'))
  return { folder, golden, batch, values, model: await loadModel(folderSource(folder)) }
}

const masked = await fixture('bert-tiny')
const classes = await fixture('bert-tiny-classes')

async function gradientsOf({ config, params }: Model, batch: Batch) {
  const grads = zerosLike(params, Number.NaN)
  const backward = open(createBackward(device, config))
  const loss = await backward.accumulate(params, grads, batch, { tokenWeight: 1 / countLabels(batch), fresh: true })
  return { loss, grads }
}

/** The rows of real positions of (t …) or (b l …), for t = b l positions of so many values each. */
function realRows({ data }: { readonly data: ArrayLike<number> }, width: number): FloatArray {
  const positions = lengths.flatMap((real, row) => Array.from({ length: real }, (_, i) => row * 13 + i))
  const values = positions.flatMap((at) => Array.from({ length: width }, (_, c) => data[at * width + c]!))
  return floats([positions.length, width], values)
}

for (const { model, golden, batch, values } of [masked, classes]) {
  describe(`bert for ${model.config.task}`, () => {
    it('has the loss and every gradient that transformers computes, with padding and token types', async () => {
      const { loss, grads } = await gradientsOf(model, batch)
      assert.ok(Math.abs(loss - values.loss) < 1e-5, `${loss}, want ${values.loss}`)
      for (const [path, gradient] of Object.entries(grads)) near(gradient, golden(`grad.${path}`), 2e-5, path)
    })
  })
}

describe('bert', () => {
  it('computes the logits of masked tokens that transformers computes', async () => {
    const { model, batch, golden } = masked
    const forward = open(createForward(device, model.config))
    const logits = await forward.logits(model.params, await forward.hidden(model.params, batch))
    near(realRows(logits, 61), realRows(golden('logits'), 61), 2e-5)
  })

  it('computes the hidden states and class logits that transformers computes', async () => {
    const { model, batch, golden } = classes
    const forward = open(createForward(device, model.config))
    let x = await forward.embed(model.params, batch)
    for (const layer of [0, 1, 2]) {
      near(realRows(x, 24), realRows(golden(`hidden.${layer}`), 24), 2e-5, `hidden.${layer}`)
      if (layer < 2) x = await forward.block(model.params, layer, x, forward.shared(batch))
    }
    near(await forward.classify(model.params, batch), golden('logits'), 2e-5)
  })

  it('has the squared error of transformers when it predicts a number', async () => {
    const { model, batch, values } = classes
    const config = readConfig({ ...model.config.json, id2label: { 0: 'score' } })
    assert.deepEqual([config.task, config.labels], ['regression', 1])
    const one = (path: string, shape: readonly number[]) =>
      floats(shape, model.params[path]!.data.slice(0, shape.at(-1)))
    const params = {
      ...model.params,
      'classifier.weight': one('classifier.weight', [1, 24]),
      'classifier.bias': one('classifier.bias', [1]),
    }
    const { loss } = await gradientsOf({ config, params }, { ...batch, labels: floats([3], values.targets) })
    assert.ok(Math.abs(loss - values.regressionLoss) < 1e-5)
  })

  it('knows the activations of its configs', async () => {
    const { model, batch, values } = masked
    for (const [name, means] of Object.entries<number[]>(values.logitMeans)) {
      const config = readConfig({ ...model.config.json, hidden_act: name })
      const forward = open(createForward(device, config))
      const logits = await forward.logits(model.params, await forward.hidden(model.params, batch))
      for (const [row, want] of means.entries()) {
        let sum = 0
        for (let i = 0; i < lengths[row]! * 61; i++) sum += logits.data[row * 13 * 61 + i]!
        assert.ok(Math.abs(sum / (13 * 61) - want) < 1e-5, `${name} ${row}: ${sum / (13 * 61)}, want ${want}`)
      }
    }
  })

  it('says which key of a config it does not support', () => {
    const { json } = masked.model.config
    const refused = (change: object, message: RegExp) =>
      assert.throws(() => readConfig({ ...json, ...change }), { message })
    refused({ hidden_act: 'swish' }, /config\.json: hidden_act: got "swish", want "gelu" or "gelu_new"/)
    refused({ position_embedding_type: 'relative_key' }, /position_embedding_type: got "relative_key", want "absolute"/)
    refused({ is_decoder: true }, /is_decoder: got true, want false/)
    refused({ num_attention_heads: 5 }, /num_attention_heads: got 5, want a divisor of hidden_size = 24/)
    refused({ num_hidden_layers: 1e9 }, /num_hidden_layers: got 1000000000, want a whole number up to 1000/)
    refused(
      { architectures: ['BertForQuestionAnswering'] },
      /architectures: got "BertForQuestionAnswering", want one of/,
    )
    refused(
      { architectures: ['BertForSequenceClassification'], problem_type: 'multi_label_classification' },
      /problem_type: got "multi_label_classification", want one label per sequence/,
    )
  })
})

for (const plan of [
  plans[0]!,
  ...plans.filter((one) => one.kind === 'linear' && /^hedgehog-(exp|softmax)$/.test(one.map)),
]) {
  describe(`an encoder with ${nameOf(plan)}`, () => {
    const sizes = { layers: 2, heads: 2, width: 6, inner: 10, vocab: 11, maxLength: 12, attention: plan }
    const rng = random(3)
    const draw = (below: number) =>
      ints(
        [3, 7],
        Int32Array.from({ length: 21 }, () => rng.integer(below)),
      )
    const real = [7, 4, 5]
    const keyMask = floats(
      [3, 7],
      real.flatMap((count) => Array.from({ length: 7 }, (_, i) => (i < count ? 1 : 0))),
    )
    const inputs = { ids: draw(11), types: draw(2), keyMask }
    const row = (array: NDArray, i: number) => cut(cut(array, 0, i, i + 1), 1, 0, real[i]!)

    it('reads a batch of sequences of different length as it reads each alone', async () => {
      const { config, params } = noisyModel(bert.configOf({ ...sizes, task: 'classification', labels: 3 }))
      const forward = open(createForward(device, config))
      const [hidden, logits] = [await forward.hidden(params, inputs), await forward.classify(params, inputs)]
      for (const i of [0, 1, 2]) {
        const alone = { ids: row(inputs.ids, i), types: row(inputs.types, i) }
        near(cut(hidden, 0, 7 * i, 7 * i + real[i]!), await forward.hidden(params, alone), 1e-5)
        near(cut(logits, 0, i, i + 1), await forward.classify(params, alone), 1e-5)
      }
    })

    it('has the gradients of the whole model as one float64 graph', async () => {
      const model = noisyModel(bert.configOf(sizes))
      const labels = ints(
        [3, 7],
        Int32Array.from(keyMask.data, (one, i) => (one && i % 3 === 1 ? i % 11 : -100)),
      )
      const batch = { ...inputs, labels }
      const paths = Object.keys(model.params)
      const want = await run(
        (given) => {
          const d = gradients(
            wholeLoss(model.config, given),
            paths.map((path) => given[`m.${path}`]!),
          )
          return Object.fromEntries(paths.map((path, i) => [path, d[i]!]))
        },
        wholeInputs(model.params, batch, 1 / countLabels(batch)),
      )
      const { grads } = await gradientsOf(model, batch)
      for (const path of paths) near(grads[path], want[path], 5e-5, path)
    })
  })
}
