import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { featureMaps } from '../../src/attention/featureMaps.ts'
import { planNamed } from '../../src/attention/plan.ts'
import { ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import type { WeightType } from '../../src/deploy/storage.ts'
import { weightTypes } from '../../src/deploy/storage.ts'
import { bert } from '../../src/models/bert.ts'
import { withTask } from '../../src/models/families.ts'
import { tinyModel } from '../execute/tiny.ts'
import { exported, gpt, llamaOf, openIn, signatures } from './exports.ts'

const targets = Object.keys(signatures) as (keyof typeof signatures)[]
const forms = ['operator', 'decomposed'] as const

describe('an export has the logits of its model', () => {
  const kinds = [
    ...Object.keys(featureMaps),
    'hedgehog+half+bias+tied',
    'softmax',
    'window:3:1',
    'window:2',
    'hybrid:3',
    'hybrid:2:1',
    'hybrid:4:2/hedgehog-softmax',
    'hybrid:2:3/taylor',
    'none',
  ]
  for (const [i, name] of kinds.entries()) {
    it(`with ${name}`, async () => {
      // Forms and targets in turn, so that the maps together meet all of both.
      const attention = forms[i % 2]!
      const { exact } = await exported(tinyModel(planNamed(name), 1, 12), targets[(i >> 1) % 2]!, { attention })
      assert.ok(exact!.logits < 2e-6, `${attention}: ${exact!.logits}`)
    })
  }

  const models = {
    'learned positions and a tied head': () => gpt('hedgehog'),
    'rotary positions, grouped keys and a tied head': () => llamaOf('hedgehog-softmax'),
    'a head of its own': () => llamaOf('t2r', { tied: false }),
  }
  for (const [i, type] of weightTypes.entries()) {
    for (const [j, to] of targets.entries()) {
      const [what, build] = Object.entries(models)[(i + j) % 3]!
      it(`with weights in ${type}, for ${to}: ${what}`, async () => {
        const { exact, changed } = await exported(build(), to, { type })
        assert.ok(exact!.logits < (type === 'float16' ? 5e-3 : 5e-6), `${exact!.logits}`)
        const most: Record<WeightType, number> = { float32: 1e-10, float16: 1e-4, int8: 2e-2, int4: 1 }
        assert.ok(changed!.kl < most[type], `${changed!.kl}`)
      })
    }
  }

  it('with layers of several kinds', async () => {
    const model = llamaOf('hedgehog', { layers: 2 })
    const plans = ['hedgehog', 'softmax'].map(planNamed)
    const mixed = {
      config: { ...model.config, attention: plans },
      params: { ...model.params } as Record<string, never>,
    }
    for (const path of Object.keys(mixed.params)) {
      if (/^layers\.1\..*feature_map/.test(path)) delete mixed.params[path]
    }
    for (const to of targets) assert.ok((await exported(mixed, to)).exact!.logits < 2e-6)
  })

  it('of any small config', async () => {
    const config = fc.record({
      layers: fc.integer({ min: 1, max: 2 }),
      keyHeads: fc.integer({ min: 1, max: 2 }),
      times: fc.integer({ min: 1, max: 3 }),
      headDim: fc.integer({ min: 1, max: 4 }).map((half) => 2 * half),
      vocab: fc.integer({ min: 2, max: 30 }),
      map: fc.constantFrom('hedgehog', 'hedgehog-softmax', 'taylor', 'elu'),
      to: fc.constantFrom(...targets),
      attention: fc.constantFrom(...forms),
    })
    await fc.assert(
      fc.asyncProperty(config, async ({ layers, keyHeads, times, headDim, vocab, map, to, attention }) => {
        const heads = keyHeads * times
        const model = llamaOf(map, { layers, heads, keyHeads, width: heads * headDim, vocab })
        assert.ok((await exported(model, to, { attention })).exact!.logits < 5e-6)
      }),
      { numRuns: 3 },
    )
  })
})

describe('an export', () => {
  it('is smaller with smaller weights', async () => {
    const model = llamaOf('hedgehog-softmax', { width: 128, inner: 384, vocab: 256, maxLength: 16 })
    const sizes = await Promise.all(
      weightTypes.map(async (type) => {
        const { files } = await exported(model, 'onnx', { type })
        return files.slice(1).reduce((sum, { bytes }) => sum + bytes, 0)
      }),
    )
    const [float32, ...others] = sizes as [number, number, number, number]
    const shares = others.map((bytes) => bytes / float32)
    // Maps of features, norms and rotary tables stay float32; tokens have 8 bits where others have 4.
    assert.ok(shares[0]! < 0.56 && shares[1]! < 0.35 && shares[2]! < 0.28, `${shares}`)
  })

  it('gives logits after as many of the last tokens as it is asked for', async () => {
    const { contents } = await exported(gpt('hedgehog'), 'onnx')
    const session = await openIn(contents, 'model.onnx')
    const { signature } = signatures.onnx
    const ids = ints([2, 3], [1, 5, 9, 3, 3, 20])
    const kept = [{ state: ['batch_size', 2, 33, 17] }]
    const feeds = signature.feeds({ kept } as never, ids, 0)
    const all = (await session.run(feeds)).logits!
    const last = (await session.run({ ...feeds, num_logits_to_keep: ints([], [1]) })).logits!
    await session.dispose()
    assert.deepEqual(
      [all.shape, last.shape].map((shape) => [...shape]),
      [
        [2, 3, 24],
        [2, 1, 24],
      ],
    )
    assert.deepEqual([...last.data.subarray(24)], [...all.data.subarray(5 * 24)])
  })

  it("has ONNX's own operators alone where it is decomposed", async () => {
    for (const model of [gpt('hedgehog'), llamaOf('hedgehog')]) {
      const others = await Promise.all(
        forms.map(async (attention) => {
          const { contents } = await exported(model, 'transformers.js', { attention })
          return Buffer.from(contents['model.onnx']!).includes('com.microsoft')
        }),
      )
      assert.deepEqual(others, [true, false])
    }
  })

  it('has its weights in files as large as is allowed', async () => {
    const { files } = await exported(gpt('hedgehog'), 'onnx', {}, undefined, 20000)
    assert.ok(files.length > 2)
    assert.deepEqual(files.map(({ path }) => path).slice(0, 3), ['model.onnx', 'model.onnx_data', 'model.onnx_data_1'])
    assert.ok(files.every(({ bytes }) => bytes <= 20000))
  })

  it('has rotary tables for as many positions as are asked for', async () => {
    const more = await exported(llamaOf('hedgehog'), 'onnx', { positions: 100 })
    const fewer = await exported(llamaOf('hedgehog'), 'onnx', { positions: 4 })
    assert.equal(more.files[1]!.bytes - fewer.files[1]!.bytes, 96 * 4 * 2 * 4)
    await assert.rejects(exported(gpt('hedgehog'), 'onnx', { positions: 17 }), {
      name: 'RangeError',
      message: 'export: got 17 positions, want at most 16, which the model has embeddings or features for',
    })
  })

  it('that computes something else is refused with the numbers', async () => {
    // The first weight that is read is of the table of tokens.
    const off = (by: number) => (bytes: Uint8Array) => {
      const values = new Float32Array(bytes.slice().buffer)
      values[3]! += by
      return new Uint8Array(values.buffer)
    }
    for (const by of [0.5, Number.NaN]) {
      await assert.rejects(exported(gpt('hedgehog'), 'onnx', {}, off(by)), {
        message:
          /^export: logits differ by [\d.NaN]+ of the largest one .*, want at most 0.001 \(float32, operator\); nothing/,
      })
    }
  })
})

describe('a model that cannot be exported is refused by name, before anything is written', () => {
  const gptModel = gpt('softmax')
  const refused = {
    'a hybrid of a map that knows positions': [
      () => gpt('hybrid:3/cosformer:64'),
      /^export: a hybrid of cosformer:64, which knows positions, has no form; want another map$/,
    ],
    'top-k attention': [() => gpt('top-k:3'), /^export: attention top-k:3 has no form in ONNX operators; want linear/],
    'a classifier': [
      () => withTask(gptModel, { task: 'classification', labels: 3 }, random(0)),
      /^export: got a gpt2 model for classification, want one that predicts the next token$/,
    ],
    'an encoder': [
      () => ({
        config: bert.configOf({ layers: 1, heads: 2, width: 6, vocab: 9, maxLength: 8 }),
        params: {},
      }),
      /^export: got a bert model for masked-language, want/,
    ],
    'an adapter': [
      () => ({ ...gptModel, config: { ...gptModel.config, adapter: { rank: 1, alpha: 1, targets: [] } as never } }),
      /^export: the model has an adapter beside its weights; merge it first \(hedgehog merge\)$/,
    ],
  } as const
  for (const [title, [model, message]] of Object.entries(refused)) {
    it(title, async () => {
      await assert.rejects(async () => exported(model(), 'onnx'), { message })
    })
  }
})
