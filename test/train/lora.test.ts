import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { type FloatArray, floats, type Params, sizeOf } from '../../src/base/array.ts'
import { finish } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import { readAdapter } from '../../src/io/adapters.ts'
import type { Source } from '../../src/io/files.ts'
import { openSafetensors } from '../../src/io/safetensors.ts'
import { isAdapterPath } from '../../src/models/adapter.ts'
import { checkParams, families, familyOf, readConfig } from '../../src/models/families.ts'
import { filesOf, readParams } from '../../src/models/files.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import type { Model } from '../../src/models/model.ts'
import { folderSource } from '../../src/node/files.ts'
import { compile } from '../../src/runtime/compile.ts'
import type { Device } from '../../src/runtime/device.ts'
import { adapterTrains, addLora, attachAdapter, detachedAdapter, type LoraOptions } from '../../src/train/lora.ts'
import { mergedFiles, mergeLora } from '../../src/train/mergeLora.ts'
import { adamw } from '../../src/train/optimizers.ts'
import { train } from '../../src/train/train.ts'
import { counted, noisyModel, tinyBatch, wholeInputs, wholeLoss, zerosLike } from '../execute/tiny.ts'
import { device, doubles, near, normals } from '../tensors.ts'

const sizes = { layers: 2, heads: 2, width: 8, vocab: 11, maxLength: 12, inner: 10 }
const plain: Readonly<Record<string, Model>> = {
  gpt2: noisyModel(families.gpt2!.configOf(sizes)),
  llama: noisyModel(families.llama!.configOf({ ...sizes, keyHeads: 1 })),
  'linear llama': noisyModel(
    families.llama!.configOf({ ...sizes, attention: { kind: 'linear', map: 'hedgehog-exp' } }),
  ),
}
const batch = tinyBatch(2, 9)
const how = { tokenWeight: 1 / counted(batch), fresh: true }

/** With an adapter of which nothing is zero. */
function adapted(name: string, options: LoraOptions = { rank: 3, alpha: 5, targets: 'all-linear' }): Model {
  const { config, params } = addLora(plain[name]!, options, random(1))
  const noise = random(2)
  const changed = Object.entries(params).map(([path, { shape, data }]) => {
    const by = normals(noise.split(path), shape, isAdapterPath(path) ? 0.3 : 0)
    return [
      path,
      isAdapterPath(path)
        ? floats(
            shape,
            data.map((x, i) => x + by.data[i]!),
          )
        : params[path]!,
    ] as const
  })
  return { config, params: Object.fromEntries(changed) }
}

async function logitsOf({ config, params }: Model): Promise<FloatArray> {
  const forward = createForward(device, config)
  const logits = await forward.logits(params, await forward.hidden(params, batch))
  await forward.dispose()
  return logits
}

const only = (params: Params, keep: (path: string) => boolean): Params =>
  Object.fromEntries(Object.entries(params).filter(([path]) => keep(path)))

describe('a model with an adapter', () => {
  for (const name of Object.keys(plain)) {
    it(`computes what ${name} computes as long as B is zero`, async () => {
      const model = addLora(plain[name]!, { targets: 'all-linear' }, random(1))
      checkParams('test', model.config, model.params)
      near(await logitsOf(model), await logitsOf(plain[name]!), 0)
    })

    it(`has the gradients of central differences in float64: ${name}`, async () => {
      const model = adapted(name)
      const grads = zerosLike(only(model.params, isAdapterPath), 7)
      const backward = createBackward(device, model.config)
      const loss = await backward.accumulate(model.params, grads, batch, how)
      await backward.dispose()
      const inputs = { ...wholeInputs(model.params, batch, how.tokenWeight), ...positions(model) }
      const whole = compile(device, (given) => ({ loss: wholeLoss(model.config, given) }))
      const at = async (path: string, index: number, step: number) => {
        const { shape, data } = inputs[`m.${path}`]!
        const moved = doubles(
          shape,
          Float64Array.from(data, (x, i) => (i === index ? x + step : x)),
        )
        return (await whole({ ...inputs, [`m.${path}`]: moved })).loss!.data[0]!
      }
      near({ ...floats([1], [loss]) }, { data: [await at(Object.keys(grads)[0]!, 0, 0)] }, 1e-5)
      for (const [path, { data }] of Object.entries(grads)) {
        const index = random(5).split(path).integer(data.length)
        const slope = ((await at(path, index, 1e-4)) - (await at(path, index, -1e-4))) / 2e-4
        assert.ok(
          Math.abs(data[index]! - slope) < 1e-5 * (1 + Math.abs(slope)),
          `${path}[${index}]: ${data[index]}, want ${slope}`,
        )
      }
      await whole.dispose()
    })
  }

  it('has one pair of matrices per target, whatever order the weight is stored in', () => {
    const { params } = addLora(plain.gpt2!, { rank: 3, targets: ['c_attn', 'mlp.c_proj'] }, random(1))
    const shapes = Object.entries(only(params, isAdapterPath)).map(([path, { shape }]) => [path, shape.join(' ')])
    assert.deepEqual(Object.fromEntries(shapes), {
      'h.0.attn.c_attn.lora_A.weight': '3 8',
      'h.0.attn.c_attn.lora_B.weight': '24 3',
      'h.0.mlp.c_proj.lora_A.weight': '3 10',
      'h.0.mlp.c_proj.lora_B.weight': '8 3',
      'h.1.attn.c_attn.lora_A.weight': '3 8',
      'h.1.attn.c_attn.lora_B.weight': '24 3',
      'h.1.mlp.c_proj.lora_A.weight': '3 10',
      'h.1.mlp.c_proj.lora_B.weight': '8 3',
    })
  })

  it('changes the projections of attention where no target is named, and one layer where a whole path is', () => {
    const modules = (options: LoraOptions) => [
      ...new Set(
        Object.keys(addLora(plain.llama!, options, random(1)).params).flatMap(
          (path) => path.match(/^(.+)\.lora_A/)?.[1] ?? [],
        ),
      ),
    ]
    const projections = [0, 1].flatMap((layer) =>
      ['q', 'k', 'v', 'o'].map((of) => `layers.${layer}.self_attn.${of}_proj`),
    )
    assert.deepEqual(modules({}), projections)
    assert.deepEqual(modules({ targets: ['layers.1.mlp.up_proj'] }), ['layers.1.mlp.up_proj'])
  })

  it('leaves feature maps and the output embedding to themselves', () => {
    const { params } = addLora(plain['linear llama']!, { targets: 'all-linear' }, random(1))
    assert.ok(!Object.keys(params).some((path) => /feature_map.*lora|embed.*lora/.test(path)))
  })

  it('is read as it was saved, under a name that no other program takes for a plain model', async () => {
    const model = adapted('llama', { rank: 2, alpha: 3, dropout: 0.1, targets: ['q_proj'] })
    const files = new Map<string, Buffer>()
    const sink = {
      name: 'memory',
      async write(path: string, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
        const chunks: Uint8Array[] = []
        for await (const part of parts) chunks.push(part.slice())
        files.set(path, Buffer.concat(chunks))
      },
    }
    await saveModel(sink, model)
    const json = JSON.parse(String(files.get('config.json')))
    assert.equal(json.model_type, 'hedgehog_llama')
    const adapter = { peft_type: 'LORA', r: 2, lora_alpha: 3, lora_dropout: 0.1, target_modules: ['q_proj'] }
    assert.deepEqual(json.hedgehog.adapter, adapter)
    const source: Source = {
      name: 'memory',
      list: async () => [...files.keys()],
      size: async (path) => files.get(path)!.length,
      read: async (path, start = 0, end) => files.get(path)!.subarray(start, end),
    }
    const again = await loadModel(source)
    assert.deepEqual(again.config.adapter, model.config.adapter)
    near(await logitsOf(again), await logitsOf(model), 0)
  })

  for (const [options, message] of [
    [{ targets: ['q_proj', 'proj'] }, /target proj is no linear layer .* want all-linear or some of q_proj, k_proj/],
    [{ rank: 0 }, /addLora: rank: got 0, want a whole number from 1/],
    [{ alpha: 0 }, /addLora: alpha: got 0, want a number above 0/],
    [{ dropout: 1 }, /addLora: dropout: got 1, want a rate from 0 and below 1/],
    [{ targets: [] }, /addLora: targets: got \[\], want at least one/],
  ] as const) {
    it(`is refused with ${JSON.stringify(options)}`, () =>
      assert.throws(() => addLora(plain.llama!, options, random(1)), { name: 'RangeError', message }))
  }

  it('is not given a second one, nor a description that is broken', () => {
    assert.throws(() => addLora(adapted('gpt2'), {}, random(1)), /has an adapter; merge it first/)
    const json = (adapter: object) => ({ ...plain.llama!.config.json, hedgehog: { adapter } })
    const whole = { r: 2, lora_alpha: 3, lora_dropout: 0, target_modules: ['q_proj'] }
    assert.equal(readConfig(json(whole)).adapter!.rank, 2)
    assert.throws(() => readConfig(json({ ...whole, r: '2' })), /hedgehog\.adapter: rank: got "2", want a whole/)
    assert.throws(() => readConfig(json({ ...whole, target_modules: 3 })), /target_modules: got 3, want paths or "all/)
  })
})

describe('merging', () => {
  const options: Readonly<Record<string, LoraOptions>> = {
    'all linear layers': { rank: 3, alpha: 5, targets: 'all-linear' },
    'one target': { rank: 1, alpha: 0.5, targets: ['c_proj'] },
    'a stabilised rank': { rank: 4, alpha: 2, rankStabilized: true },
  }
  for (const name of Object.keys(plain)) {
    for (const [title, given] of Object.entries(options)) {
      if (name !== 'gpt2' && title === 'one target') continue
      it(`gives the plain family and the same logits: ${name}, ${title}`, async () => {
        const model = adapted(name, given)
        const merged = await mergeLora(device, model)
        checkParams('test', plain[name]!.config, merged.params)
        assert.deepEqual(
          familyOf(merged.config).writeConfig(merged.config),
          familyOf(merged.config).writeConfig(plain[name]!.config),
        )
        const want = await logitsOf(model)
        near(await logitsOf(merged), want, 1e-5)
        const before = await logitsOf(plain[name]!)
        assert.ok(before.data.some((value, i) => Math.abs(value - want.data[i]!) > 1e-2))
      })
    }
  }

  it('scales a stabilised rank by alpha over its root', () => {
    const { adapter } = addLora(plain.gpt2!, { rank: 16, alpha: 2, rankStabilized: true }, random(1)).config
    assert.equal(adapter!.alpha / adapter!.rank, 2 / 4)
  })

  it('is done weight by weight as they are read, with what is changed as float32', async () => {
    for (const name of Object.keys(plain)) {
      const model = adapted(name, { rank: 2, targets: 'all-linear' })
      const { config, params } = await mergeLora(device, model)
      const stored = { ...filesOf(model), dtype: () => 'F16' }
      const merged = await mergedFiles(device, stored)
      assert.deepEqual([merged.config, merged.paths], [config, Object.keys(params)])
      for (const path of merged.paths) {
        const isSame = params[path] === model.params[path]
        assert.equal(merged.dtype(path), isSame ? 'F16' : 'F32', path)
        assert.deepEqual(await merged.read(path), params[path], path)
      }
      await merged.dispose()
    }
  })

  it('leaves all that has no adapter as it is', async () => {
    const model = adapted('llama', { targets: ['v_proj'] })
    const { params } = await mergeLora(device, model)
    for (const path of Object.keys(params)) {
      assert.equal(params[path] === plain.llama!.params[path], !path.endsWith('v_proj.weight'), path)
    }
  })

  it('is refused when the merged model computes something else', async () => {
    await assert.rejects(
      mergeLora(device, adapted('llama'), { tolerance: 0 }),
      /results differ by .* at most 0; keep the adapter/,
    )
    const broken = adapted('llama')
    const path = 'layers.0.self_attn.q_proj.lora_B.weight'
    const params = { ...broken.params, [path]: floats([8, 3], Array(24).fill(Number.NaN)) }
    await assert.rejects(mergeLora(device, { ...broken, params }), /results differ by NaN/)
    await assert.rejects(mergeLora(device, plain.llama!), { name: 'TypeError', message: /has no adapter/ })
  })
})

describe('an adapter of PEFT', () => {
  it('attached to its model and merged changes the weights as PEFT does', async () => {
    const base = await loadModel(folderSource('test/fixtures/gpt2-tiny'))
    const adapter = await readAdapter(folderSource('test/fixtures/adapter'), { prefix: 'transformer.' })
    const attached = attachAdapter(filesOf(base), adapter)
    const model = { config: attached.config, params: await readParams(attached) }
    const { params } = await mergeLora(device, model)
    const golden = await openSafetensors(folderSource('test/fixtures/adapter'), 'golden.safetensors')
    for (const path of Object.keys(params)) {
      const change = golden.names.includes(path) ? (await golden.tensor(path)).data : undefined
      const want = base.params[path]!.data.map((x, i) => x + (change?.[i] ?? 0))
      near(params[path], { data: want }, 1e-6, path)
    }
    assert.deepEqual(detachedAdapter(model), { adapter, fanInFanOut: true })
    assert.equal(detachedAdapter(adapted('llama')).fanInFanOut, false)
  })

  it('does not fit another model', () => {
    const { adapter } = detachedAdapter(adapted('llama', { rank: 2, targets: ['q_proj'] }))
    assert.throws(
      () => attachAdapter(filesOf(plain.gpt2!), adapter),
      /target layers\.0\.self_attn\.q_proj is no linear layer/,
    )
    const path = 'layers.0.self_attn.q_proj.lora_A.weight'
    const tensors = { ...adapter.tensors, [path]: floats([2, 7]) }
    assert.throws(
      () => attachAdapter(filesOf(plain.llama!), { ...adapter, tensors }),
      /of another shape .*lora_A.* is \[2,7\]/,
    )
    assert.throws(() => detachedAdapter(plain.gpt2!), { name: 'TypeError', message: /has no adapter/ })
  })
})

describe('training an adapter', () => {
  const options = { phase: 'lora', steps: 4, learningRate: 0.05, optimizer: adamw(), clock: () => 0 }
  const batches = { next: () => batch, state: () => 0, restore: () => {} }

  it('changes the adapter and feature maps alone, and keeps moments for nothing else', async () => {
    const model = addLora(plain['linear llama']!, { rank: 2, targets: ['q_proj', 'v_proj'] }, random(1))
    const objective = createBackward(device, model.config)
    const slots: string[][] = []
    const save = async ({ slots: found, params }: { slots: Record<string, Params>; params: Params }) => {
      slots.push(...Object.values(found).map((slot) => Object.keys(slot)), Object.keys(params))
    }
    const trains = adapterTrains(model.config)
    const trained = await finish(
      train(objective, model.params, { ...options, batches, trains, checkpoint: { every: 4, save } }),
    )
    await objective.dispose()
    const own = Object.keys(model.params).filter((path) => /lora_|feature_map/.test(path))
    for (const path of Object.keys(model.params)) {
      const moved = trained.params[path]!.data.some((x, i) => x !== model.params[path]!.data[i])
      assert.equal(moved, own.includes(path), path)
      if (!own.includes(path)) assert.equal(trained.params[path], model.params[path])
    }
    // 2 layers × 2 targets × rank 2 × (8 inputs + 8 outputs), and 2 layers × 2 maps × 2 heads × 4 × 4.
    assert.equal(
      own.reduce((total, path) => total + sizeOf(model.params[path]!.shape), 0),
      2 * 2 * 2 * 16 + 2 * 2 * 2 * 16,
    )
    for (const paths of slots) assert.deepEqual([...paths].sort(), [...own].sort())
    assert.ok(trained.curve.at(-1)!.loss < trained.curve[0]!.loss)
  })

  it('computes no gradient of a frozen weight, the output embedding among them', async () => {
    const counts = async (trains: (path: string) => boolean) => {
      const opened: { products: number; outputs: boolean }[] = []
      const spy: Device = {
        ...device,
        open: (onnx) => {
          const text = Buffer.from(onnx).toString('latin1')
          opened.push({ products: text.split('\x22\x06MatMul').length - 1, outputs: text.includes('dUnembedding') })
          return device.open(onnx)
        },
      }
      const { config, params } = adapted('llama', { targets: ['q_proj'] })
      const backward = createBackward(spy, config)
      await backward.accumulate(params, zerosLike(only(params, trains)), batch, how)
      await backward.dispose()
      return {
        products: opened.reduce((sum, { products }) => sum + products, 0),
        table: opened.some(({ outputs }) => outputs),
      }
    }
    const [all, frozen] = [await counts(() => true), await counts(isAdapterPath)]
    assert.equal(all.table, true)
    assert.equal(frozen.table, false)
    // One product for the output embedding, seven for the weights of a block (both blocks share a graph but the lowest,
    // whose input has no gradient when all below is frozen, opens one of its own).
    assert.ok(frozen.products <= all.products - 1 - 7 + 8, `${frozen.products} of ${all.products}`)
  })

  it('also trains the new end of a classifier', () => {
    const config = families.llama!.configOf({ ...sizes, task: 'classification', labels: 3 })
    const trains = adapterTrains(config)
    assert.ok(trains('score.weight') && trains('layers.0.self_attn.q_proj.lora_A.weight'))
    assert.ok(!trains('embed_tokens.weight') && !trains('layers.0.self_attn.q_proj.weight'))
    assert.ok(!adapterTrains(plain.llama!.config)('lm_head.weight'))
  })

  it('drops of what A reads, by the stream it is given', async () => {
    const model = adapted('gpt2', { rank: 3, dropout: 0.4, targets: ['c_attn', 'c_fc'] })
    const backward = createBackward(device, model.config)
    after(() => backward.dispose())
    const lossOf = async (params: Params, seed: number) => {
      const grads = zerosLike(only(params, isAdapterPath))
      const loss = await backward.accumulate(params, grads, batch, { ...how, rng: random(seed) })
      return { loss, grads }
    }
    const { loss, grads } = await lossOf(model.params, 1)
    assert.equal((await lossOf(model.params, 1)).loss, loss)
    assert.notEqual((await lossOf(model.params, 2)).loss, loss)
    // The way back drops the same numbers: a step along the gradient changes the loss as the gradient says.
    const size = Math.sqrt(Object.values(grads).reduce((sum, { data }) => sum + data.reduce((s, x) => s + x * x, 0), 0))
    const moved = (step: number): Params => ({
      ...model.params,
      ...Object.fromEntries(
        Object.entries(grads).map(([path, { shape, data }]) => {
          const from = model.params[path]!.data
          return [
            path,
            floats(
              shape,
              from.map((x, i) => x + (step * data[i]!) / size),
            ),
          ]
        }),
      ),
    })
    const slope = ((await lossOf(moved(1e-3), 1)).loss - (await lossOf(moved(-1e-3), 1)).loss) / 2e-3
    assert.ok(Math.abs(slope - size) < 1e-2 * size, `${slope}, want ${size}`)
    await assert.rejects(backward.accumulate(model.params, {}, batch, how), /dropout is on; pass a random stream/)
  })
})

/** Tables of positions in float64, for families that have them. */
function positions({ config }: Model) {
  const tables = familyOf(config).positional?.(config, 0, batch.ids.shape[1]!) ?? {}
  return Object.fromEntries(
    Object.entries(tables).map(([name, { shape, data }]) => [`pos.${name}`, doubles(shape, Float64Array.from(data))]),
  )
}
