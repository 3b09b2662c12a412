import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import {
  type DistillLoss,
  distillLosses,
  entropy,
  imitation,
  softCrossEntropy,
} from '../../src/attention/distillation.ts'
import { featureMap, type MapName } from '../../src/attention/featureMaps.ts'
import { linearKind } from '../../src/attention/kinds/linear.ts'
import { isMapPath } from '../../src/attention/mapParams.ts'
import { attentionOf, planNamed, planParams } from '../../src/attention/plan.ts'
import { softmaxWeights } from '../../src/attention/softmax.ts'
import { floats, ints, type NDArray, type Params } from '../../src/base/array.ts'
import { finish } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { createDistillation, type Distillation } from '../../src/convert/distill.ts'
import { linearize } from '../../src/convert/linearize.ts'
import type { Batch } from '../../src/execute/objective.ts'
import { gradients } from '../../src/graph/gradient.ts'
import { matmul, mean, sub } from '../../src/graph/ops.ts'
import { batches } from '../../src/io/batches.ts'
import { below, initialise } from '../../src/nn/params.ts'
import { compile } from '../../src/runtime/compile.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { adamw, createSlots } from '../../src/train/optimizers.ts'
import { type TrainState, train } from '../../src/train/train.ts'
import { maps, referenceName } from '../attention/cases.ts'
import { tinyBatch, tinyModel, zerosLike } from '../execute/tiny.ts'
import { readGolden } from '../golden.ts'
import { cut, device, dot, doubles, near, normals, run } from '../tensors.ts'

const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})

const sizes = { heads: 2, headDim: 3 }
const teacher = tinyModel({ kind: 'softmax' })
const learned = maps.filter(([name]) => referenceName(name) && Object.keys(planParams(planNamed(name), sizes)).length)
/** What distillation trains, away from kinks and poles, where differences say little. */
const distilled = [...learned.map(([name]) => name), 'hedgehog-exp+bias+tied', 'hybrid:3', 'hybrid:2/hedgehog-exp']

/** A student whose maps are no longer at their start. */
function studentOf(map: MapName) {
  const { config, params } = linearize(teacher, map, random(1))
  const moved = Object.entries(params).map(([path, array]) => {
    if (!isMapPath(path)) return [path, array] as const
    const by = normals(random(2).split(path), array.shape, 0.2).data
    const data = array.data.map((x, i) => x + by[i]!)
    return [path, floats(array.shape, data)] as const
  })
  return { config, params: Object.fromEntries(moved) as Params }
}

function distillationOf(map: MapName, loss?: DistillLoss) {
  const student = studentOf(map)
  const objective = createDistillation(device, student.config, loss ? { loss } : {})
  opened.push(objective)
  const maps = Object.fromEntries(Object.entries(student.params).filter(([path]) => isMapPath(path)))
  return { ...student, maps, objective }
}

/** The mean over layers. */
async function measured(objective: Distillation, params: Params, list: readonly Batch[]): Promise<number> {
  const losses = await objective.measure(params, list)
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length
}

/** params + by · along. */
function moved(params: Params, along: Params, by: number): Params {
  return Object.fromEntries(
    Object.entries(params).map(([path, { shape, data }]) => [
      path,
      floats(
        shape,
        data.map((x, i) => x + by * along[path]!.data[i]!),
      ),
    ]),
  )
}

/** 1 for the first so many positions of each row. */
function maskOf(real: readonly number[], length: number) {
  return floats(
    [real.length, length],
    real.flatMap((count) => Array.from({ length }, (_, i) => (i < count ? 1 : 0))),
  )
}

const batch: Batch = tinyBatch(2, 7)
const tokenWeight = 1 / batch.ids.data.length

describe('the distillation loss against torch', () => {
  const golden = readGolden('attention.safetensors')
  const stored = (name: string): NDArray => doubles(golden(name).shape, golden(name).data)
  const wants = { 'feature_map_q.weight': 'wq', 'feature_map_k.weight': 'wk' }
  for (const [name] of learned) {
    const reference = referenceName(name)
    if (!reference) continue
    for (const mask of ['causal', 'bidirectional'] as const) {
      it(`${name}, ${mask}: loss and gradients of the maps to 1e-8`, async () => {
        const visible = mask === 'causal' ? {} : { keyMask: stored('keyMask') }
        const biases = reference === 't2r' ? { 'feature_map_q.bias': 'bq', 'feature_map_k.bias': 'bk' } : {}
        const leaves = { ...wants, ...biases }
        const inputs: Arrays = {
          ...Object.fromEntries(['q', 'k', 'v'].map((input) => [input, stored(input)])),
          ...Object.fromEntries(Object.entries(leaves).map(([leaf, from]) => [leaf, stored(from)])),
          ...visible,
        }
        const found = await run((given) => {
          const { q, k, v, keyMask } = given
          const visibility = { causal: mask === 'causal', ...(keyMask && { keyMask }) }
          const heads = { q: q!, k: k!, v: v! }
          const loss = mean(
            imitation(linearKind(name), given, heads, visibility, 'cross-entropy').loss,
            undefined,
            false,
          )
          const d = gradients(
            loss,
            Object.keys(leaves).map((leaf) => given[leaf]!),
          )
          return { loss, ...Object.fromEntries(Object.values(leaves).map((from, i) => [from, d[i]!])) }
        }, inputs)
        near(found.loss, golden(`${reference}.${mask}.loss`), 1e-8, 'loss')
        for (const from of Object.values(leaves)) {
          const want = golden(`${reference}.${mask}.lossD${from}`)
          near(found[from], want, 1e-8, `gradient of ${from}`)
        }
      })
    }
  }
})

describe('distillation of a model', () => {
  for (const map of distilled) {
    for (const loss of distillLosses) {
      it(`with ${map} and ${loss}: gradients are central differences, and following them lowers the loss`, async () => {
        const { objective, params, maps } = distillationOf(map, loss)
        const grads = zerosLike(maps, Number.NaN)
        const value = await objective.accumulate(params, grads, batch, { tokenWeight, fresh: true })
        // The slope along the gradient itself; in float32 the differences are good to about 1e-3 of it.
        const slope = Object.values(grads).reduce((sum, gradient) => sum + dot(gradient, gradient), 0)
        const norm = Math.sqrt(slope)
        assert.ok(norm > 0 && norm < 1e4)
        const along = (by: number) => ({ ...params, ...moved(maps, grads, by / norm) })
        const step = 2e-3
        const rise =
          (await measured(objective, along(step), [batch])) - (await measured(objective, along(-step), [batch]))
        const tolerance = 2e-2 * norm + (4e-7 * value) / step
        assert.ok(Math.abs(rise / (2 * step) - norm) < tolerance, `slope ${rise / (2 * step)}, want ${norm}`)
        assert.ok((await measured(objective, along(-0.01), [batch])) < value)
      })
    }
  }

  it('has no gradient that crosses a layer: each depends on its own maps alone, bit for bit', async () => {
    const { objective, params, maps } = distillationOf('hedgehog-exp')
    const gradientsOf = async (given: Params) => {
      const grads = zerosLike(maps)
      await objective.accumulate(given, grads, batch, { tokenWeight, fresh: true })
      return grads
    }
    const want = await gradientsOf(params)
    for (const layer of [0, 1]) {
      const isOf = (path: string) => path.startsWith(`h.${layer}.`)
      const changed = Object.entries(params).map(
        ([path, array]) =>
          [
            path,
            isMapPath(path) && isOf(path)
              ? floats(
                  array.shape,
                  array.data.map((x) => 3 * x),
                )
              : array,
          ] as const,
      )
      const got = await gradientsOf(Object.fromEntries(changed))
      for (const [path, { data }] of Object.entries(want)) {
        if (isOf(path)) assert.notDeepEqual(got[path]!.data, data, path)
        else assert.deepEqual(got[path]!.data, data, path)
      }
    }
  })

  it('measures the mean of what its batches give, adds gradients up, and changes no parameter', async () => {
    const { objective, params, maps } = distillationOf('t2r')
    const before = Object.entries(params).map(([path, { data }]) => [path, data.slice()] as const)
    const list = [tinyBatch(2, 7, 4), tinyBatch(3, 7, 5)]
    const tokens = 35
    const [apart, summed] = [zerosLike(maps), zerosLike(maps)]
    let total = 0
    for (const [i, part] of list.entries()) {
      const own = zerosLike(maps, Number.NaN)
      total += await objective.accumulate(params, own, part, { tokenWeight: 1 / tokens, fresh: true })
      await objective.accumulate(params, summed, part, { tokenWeight: 1 / tokens, fresh: i === 0 })
      for (const [path, { data }] of Object.entries(own)) {
        for (let j = 0; j < data.length; j++) apart[path]!.data[j]! += data[j]!
      }
    }
    assert.ok(Math.abs((await measured(objective, params, list)) - total) < 1e-6)
    for (const [path, gradient] of Object.entries(summed)) near(gradient, apart[path], 1e-6, path)
    for (const [path, data] of before) assert.deepEqual(params[path]!.data, data, path)
  })

  for (const causal of [true, false]) {
    for (const map of ['hedgehog-exp', 't2r']) {
      it(`of padded sequences is that of each alone, with its gradients: ${map}, ${causal ? 'causal' : 'both ways'}`, async () => {
        const { config, params, maps } = distillationOf(map)
        const objective = createDistillation(device, { ...config, causal })
        opened.push(objective)
        const padded: Batch = { ids: tinyBatch(3, 7).ids, keyMask: maskOf([7, 4, 5], 7), labels: ints([3], [0, 1, 0]) }
        assert.equal(objective.count(padded), 16)
        const alone = [7, 4, 5].map((real, row): Batch => {
          return { ids: cut(cut(padded.ids, 0, row, row + 1), 1, 0, real), labels: ints([1], [0]) }
        })
        const [whole, summed] = [zerosLike(maps, Number.NaN), zerosLike(maps)]
        const value = await objective.accumulate(params, whole, padded, { tokenWeight: 1 / 16, fresh: true })
        let total = 0
        for (const one of alone) total += await objective.accumulate(params, summed, one, { tokenWeight: 1 / 16 })
        assert.ok(Math.abs(value - total) < 1e-5, `${value}, want ${total}`)
        for (const [path, gradient] of Object.entries(whole)) near(gradient, summed[path], 1e-5, path)
        const got = await measured(objective, params, [padded])
        assert.ok(Math.abs(got - (await measured(objective, params, alone))) < 1e-5)
      })
    }
  }

  it('divides a step by its real positions, whatever labels the examples have', async () => {
    const { config, params, maps } = distillationOf('hedgehog-exp')
    const objective = createDistillation(device, config)
    opened.push(objective)
    const { ids } = tinyBatch(2, 7)
    const one = { ids, keyMask: maskOf([7, 3], 7), labels: ints([2], [1, -1]) }
    const stream = { next: () => one, state: () => 0, restore: () => {} }
    const options = { phase: 'distill', steps: 1, batches: stream, optimizer: adamw(), learningRate: 1e-3 }
    const { curve } = await finish(
      train(objective, params, { ...options, trains: (path) => path in maps, clock: () => 0 }),
    )
    assert.ok(Math.abs(curve[0]!.loss - (await measured(objective, params, [one]))) < 1e-5)
  })

  it('trained on text lowers the loss on other text, and leaves the teacher as it was', async () => {
    const student = linearize(teacher, 'hedgehog-softmax', random(1))
    const objective = createDistillation(device, student.config)
    opened.push(objective)
    const before = Object.entries(teacher.params).map(([path, { data }]) => [path, data.slice()] as const)
    const rng = random(9)
    const text = Int32Array.from({ length: 300 }, () => rng.integer(11))
    const heldOut = [tinyBatch(4, 12, 77)]
    const start = await measured(objective, student.params, heldOut)
    const { params, curve } = await finish(
      train(objective, student.params, {
        phase: 'distill',
        steps: 40,
        batches: batches(text, { length: 12, batch: 4, seed: 1 }),
        optimizer: adamw({ weightDecay: 0 }),
        learningRate: 1e-2,
        trains: isMapPath,
        clock: () => 0,
      }),
    )
    assert.ok(curve.at(-1)!.loss < curve[0]!.loss)
    assert.ok((await measured(objective, params, heldOut)) < start)
    for (const [path, data] of before) {
      assert.deepEqual(teacher.params[path]!.data, data, path)
      assert.equal(params[path], teacher.params[path], `${path} is the teacher's own array`)
    }
  })

  it('says that a layer is not linear, and that a loss is not a number', async () => {
    const plain = createDistillation(device, teacher.config)
    opened.push(plain)
    await assert.rejects(
      plain.measure(teacher.params, [batch]),
      /distill: layer 0 attends by softmax, want a feature map/,
    )
    const { objective, params } = distillationOf('hedgehog-exp')
    const path = 'h.1.attn.feature_map_q.weight'
    const broken = {
      ...params,
      [path]: floats(
        params[path]!.shape,
        params[path]!.data.map(() => Number.NaN),
      ),
    }
    await assert.rejects(
      measured(objective, broken, [batch]),
      /distillation loss: got NaN in layer 1: the parameter h\.1\.attn\.feature_map_q\.weight of layer 1 has NaN at/,
    )
  })
})

for (const map of ['hedgehog-exp', 'hedgehog-softmax', 'cosformer:128', 'hybrid:40', 'hybrid:9/hedgehog-exp']) {
  for (const padded of [false, true]) {
    it(`long sequences are compared in blocks of queries, to the loss of the whole: ${map}${padded ? ', padded' : ''}`, async () => {
      const [b, h, l, d] = [2, 3, 128, 4]
      const attention = attentionOf(planNamed(map))
      const start = initialise(attention.params({ heads: h, headDim: d }), random(4))
      const given = {
        ...Object.fromEntries(['q', 'k', 'v'].map((name) => [name, normals(random(5).split(name), [b, h, l, d], 1)])),
        ...Object.fromEntries(
          Object.entries(start).map(([path, { shape, data }]) => [path, doubles(shape, Array.from(data))]),
        ),
        ...(padded && { keyMask: doubles([b, l], Array.from(maskOf([128, 77], l).data)) }),
      }
      const found = await run(({ q, k, v, keyMask, ...params }) => {
        const seen = { causal: true, ...(keyMask && { keyMask }) }
        const { y, loss } = imitation(attention, params, { q: q!, k: k!, v: v! }, seen, 'cross-entropy')
        const weights = softmaxWeights(q!, k!, seen)
        const whole = softCrossEntropy(weights, attention.scores(params, { q: q!, k: k! }, seen))
        return { y, loss, wantY: matmul(weights, v!), wantLoss: whole }
      }, given)
      near(found.y, found.wantY!, 1e-10, 'y')
      near(found.loss, found.wantLoss!, 1e-10, 'loss')
    })
  }
}

for (const map of ['hedgehog-exp', 'hedgehog-softmax'] as const) {
  it(`one head of ${map}, distilled on Gaussian tokens, comes at least 27 % nearer on others`, async () => {
    const [d, l, b] = [16, 32, 4]
    const rng = random(3)
    // Projections that give the teacher a mean entropy of about two thirds of the largest.
    const projections = { a: normals(rng.split('a'), [d, d], 0.3), c: normals(rng.split('c'), [d, d], 0.3) }
    const tokens = (name: string | number) => normals(rng.split(name), [b, 1, l, d])
    const specs = featureMap(map).params({ heads: 1, headDim: d })
    const start = initialise(
      Object.fromEntries(
        ['feature_map_q.', 'feature_map_k.'].flatMap((prefix) =>
          Object.entries(specs).map(([path, spec]) => [prefix + path, spec] as const),
        ),
      ),
      rng,
    )
    const single = ({ shape, data }: NDArray) => floats(shape, Float32Array.from(data))
    const paths = Object.keys(start)
    const step = compile(device, (given) => {
      const [q, k] = [matmul(given.x!, given.a!), matmul(given.x!, given.c!)]
      const heads = { q, k, v: given.x! }
      const { loss } = imitation(linearKind(map), given, heads, { causal: true }, 'cross-entropy')
      const value = mean(loss, undefined, false)
      const weights = softmaxWeights(q, k, { causal: true })
      const d = gradients(
        value,
        paths.map((path) => given[path]!),
      )
      const kl = sub(value, mean(entropy(weights), undefined, false))
      return { kl, ...Object.fromEntries(paths.map((path, i) => [`d.${path}`, d[i]!])) }
    })
    opened.push(step)
    const fixed = { a: single(projections.a), c: single(projections.c) }
    const heldOut = single(tokens('held out'))
    const divergence = async (given: Params) => (await step({ ...given, ...fixed, x: heldOut })).kl!.data[0]!
    const before = await divergence(start)
    const params = zerosLike(start)
    for (const path of paths) params[path]!.data.set(start[path]!.data)
    const optimizer = adamw({ weightDecay: 0 })
    const slots = createSlots(optimizer, params)
    for (let i = 1; i <= 300; i++) {
      const grads = below('d.', await step({ ...params, ...fixed, x: single(tokens(i)) }))
      optimizer.step({ params, grads: grads as Params, slots, step: i, learningRate: 1e-2 })
    }
    const after = await divergence(params)
    assert.ok(after <= 0.73 * before, `${map}: ${before} to ${after}`)
  })
}

describe('distillation with several updates in a batch', () => {
  const student = studentOf('hedgehog-exp')
  const paths = Object.keys(student.params).filter(isMapPath)
  const batch = tinyBatch(2, 6)
  const opening = (updates: number, loss: DistillLoss) => {
    const objective = createDistillation(device, student.config, { updates, loss })
    opened.push(objective)
    return objective
  }
  const zeros = () => zerosLike(Object.fromEntries(paths.map((path) => [path, student.params[path]!])))

  for (const loss of distillLosses) {
    it(`takes apart what one update sees as a whole: losses and gradients add up, by ${loss}`, async () => {
      const whole = zeros()
      const want = await opening(1, loss).accumulate(student.params, whole, batch, { tokenWeight: 1 / 12 })
      const [grads, summed] = [zeros(), zeros()]
      const update = (own: readonly string[]) => {
        for (const path of own) {
          grads[path]!.data.forEach((x, i) => {
            summed[path]!.data[i]! += x / 3
          })
        }
      }
      const how = { tokenWeight: 1 / 12, fresh: true, rng: random(5), update }
      const got = await opening(3, loss).accumulate(student.params, grads, batch, how)
      assert.ok(Math.abs(got - want) < 1e-5 * Math.abs(want), `${got}, want ${want}`)
      for (const path of paths) near(summed[path]!, whole[path]!, 2e-5, path)
    })
  }

  it('steps each parameter that often, and goes on from an interruption bit for bit', async () => {
    const tokens = Int32Array.from({ length: 200 }, (_, i) => (7 * i + (i >> 2)) % 11)
    const job = (steps: number, resume?: TrainState, save?: (state: TrainState) => void) =>
      finish(
        train(opening(3, 'both'), student.params, {
          phase: 'distill',
          steps,
          batches: batches(tokens, { length: 6, batch: 2, seed: 3 }),
          optimizer: adamw({ weightDecay: 0 }),
          learningRate: 0.01,
          trains: isMapPath,
          clock: () => 0,
          ...(resume && { resume }),
          ...(save && { checkpoint: { every: 2, save: async (state: TrainState) => save(structuredClone(state)) } }),
        }),
      )
    let state: TrainState | undefined
    await job(2, undefined, (saved) => {
      state = saved
    })
    const [straight, resumed] = [await job(4), await job(4, state)]
    for (const path of paths) assert.deepEqual(resumed.params[path]!.data, straight.params[path]!.data)
    assert.notDeepEqual(straight.params[paths[0]!]!.data, student.params[paths[0]!]!.data)
  })

  it('refuses batches that are added up, lengths that do not divide, and models that see later tokens', async () => {
    const options = {
      phase: 'distill',
      steps: 1,
      batches: batches(new Int32Array(100), { length: 6, batch: 2, seed: 3 }),
      optimizer: adamw(),
      learningRate: 0.01,
      trains: isMapPath,
      clock: () => 0,
    }
    const added = finish(train(opening(2, 'both'), student.params, { ...options, accumulate: 2 }))
    await assert.rejects(added, { name: 'RangeError', message: /2 updates in a batch and 2 batches/ })
    const uneven = finish(train(opening(4, 'both'), student.params, options))
    await assert.rejects(uneven, /6 positions, want a multiple of the 4 updates/)
    const later = { ...student.config, causal: false }
    assert.throws(() => createDistillation(device, later, { updates: 2 }), { name: 'TypeError', message: /causal/ })
  })
})
