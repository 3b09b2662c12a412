import assert from 'node:assert/strict'
import { after, describe, it, mock } from 'node:test'
import { InferenceSession } from 'onnxruntime-node'
import { type FloatArray, floats, ints, type NDArray } from '../../src/base/array.ts'
import { type Random, random } from '../../src/base/random.ts'
import { toOnnx } from '../../src/graph/onnx.ts'
import { add, expand, filled, matmul, mul, reshape, scatterAdd, sub, sum } from '../../src/graph/ops.ts'
import { type Tensors, trace } from '../../src/graph/trace.ts'
import { tokenLossGradients } from '../../src/nn/loss.ts'
import { openDevice } from '../../src/node/device.ts'
import { compile } from '../../src/runtime/compile.ts'
import type { Device } from '../../src/runtime/device.ts'
import { createMemory } from '../../src/runtime/memory.ts'
import { near } from '../tensors.ts'

/** With all threads: what goes wrong in place or in a race goes wrong only there. */
const device = await openDevice('cpu')
const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})

function make(fn: (inputs: Tensors) => Tensors, on: Device = device) {
  const compiled = compile(on, fn)
  opened.push(compiled)
  return compiled
}

function uniform(rng: Random, shape: readonly number[]): FloatArray {
  const array = floats(shape)
  for (let i = 0; i < array.data.length; i++) array.data[i] = 2 * rng.uniform() - 1
  return array
}

const copy = ({ shape, data }: FloatArray): FloatArray => floats(shape, data.slice())
const affine = ({ a, b }: Tensors): Tensors => ({ product: matmul(a!, b!), total: sum(a!, [0, 1], false) })
const a = floats([2, 3], [1, 2, 3, 4, 5, 6])
const b = floats([3, 1], [1, 0, -1])

describe('a run', () => {
  it('writes results into the arrays that are offered, and gives the others new ones', async () => {
    const run = make(affine)
    const product = floats([2, 1], [9, 9])
    const { buffer } = product.data
    const results = await run({ a, b }, { product })
    assert.equal(results.product, product)
    assert.equal(product.data.buffer, buffer)
    assert.deepEqual([...product.data], [-2, -2])
    assert.deepEqual([...results.total!.data], [21])
    assert.deepEqual(results.total!.shape, [])
  })

  it('never changes what an earlier run gave', async () => {
    const run = make(affine)
    const first = await run({ a, b })
    const second = await run({ a: floats([2, 3]), b })
    assert.notEqual(first.product!.data.buffer, second.product!.data.buffer)
    assert.deepEqual([...first.product!.data], [-2, -2])
  })

  it('reads and writes views of one memory without touching what lies beside them', async () => {
    const memory = createMemory(200)
    const [left, place, right] = [memory.allocate([16]), memory.allocate([2, 1]), memory.allocate([16])]
    const own = memory.allocate([2, 3])
    own.data.set(a.data)
    await make(affine)({ a: own, b }, { product: place })
    assert.deepEqual([...place.data], [-2, -2])
    for (const beside of [left, right]) assert.ok(beside.data.every((value) => value === 0))
  })

  it('updates an array that is also its input, element by element', async () => {
    const run = make(({ moment, gradient }) => ({ next: add(mul(moment!, 0.5), sub(gradient!, mul(moment!, 0.25))) }))
    const rng = random(1)
    const [start, gradient] = [uniform(rng, [301, 67]), uniform(rng, [301, 67])]
    const moment = copy(start)
    for (const _ of [1, 2, 3]) await run({ moment, gradient }, { next: moment })
    const want = start.data.map((x, i) => 0.25 ** 3 * x + gradient.data[i]! * (1 + 0.25 + 0.25 ** 2))
    near(moment, { data: want }, 1e-6)
  })

  it('adds up the gradient of the output embedding in place', async () => {
    for (const [t, v, e] of [
      [3, 5, 2],
      [130, 517, 33],
    ] as const) {
      const run = make(({ h, unembedding, labels, weights, accumulated }) => ({
        ...tokenLossGradients({
          h: h!,
          unembedding: unembedding!,
          labels: labels!,
          weights: weights!,
          accumulated: accumulated!,
        }),
      }))
      const rng = random(2)
      const unembedding = uniform(rng, [v, e])
      const parts = [0, 1, 2].map(() => ({
        h: uniform(rng, [t, e]),
        unembedding,
        labels: ints(
          [t, 1],
          Int32Array.from({ length: t }, () => rng.integer(v)),
        ),
        weights: uniform(rng, [t, 1]),
      }))
      const accumulated = uniform(rng, [v, e])
      const want = Float64Array.from(accumulated.data)
      for (const part of parts) {
        const { dUnembedding } = await run({ ...part, accumulated: floats([v, e]) })
        dUnembedding!.data.forEach((value, i) => {
          want[i]! += value
        })
      }
      for (const part of parts) await run({ ...part, accumulated }, { dUnembedding: accumulated })
      near(accumulated, { data: want }, 1e-5, `${v} words`)
    }
  })

  it('adds up rows of repeated indices whatever the number of threads', async () => {
    const [rows, count, width] = [7, 4096, 9]
    const run = make(({ ids, updates }) => {
      const table = expand(filled(updates!, [1, 1], 0), [rows, width])
      return { sums: scatterAdd(table, expand(reshape(ids!, [count, 1]), [count, width]), updates!, 0) }
    })
    const rng = random(3)
    const updates = uniform(rng, [count, width])
    const ids = ints(
      [count],
      Int32Array.from({ length: count }, () => rng.integer(rows)),
    )
    const want = new Float64Array(rows * width)
    updates.data.forEach((x, i) => {
      want[ids.data[Math.floor(i / width)]! * width + (i % width)]! += x
    })
    for (let again = 0; again < 10; again++) near((await run({ ids, updates })).sums, { data: want }, 1e-5)
  })
})

describe('arrays that do not fit', () => {
  const refusals: readonly [string, Record<string, NDArray>, Record<string, NDArray>, RegExp][] = [
    ['operands', { a, b: floats([2, 1]) }, {}, /^RangeError: matmul: got shapes \[2,3\] and \[2,1\], want/],
    ['data of another length', { a: { ...a, shape: [2, 4] }, b: floats([4, 1]) }, {}, /size\(8\).* length\(6\)/],
    ['an offered rank', { a, b }, { product: floats([2]) }, /^RangeError: run: product: got an array \[2\].* \[2,1\]/],
    ['an offered size', { a, b }, { product: floats([3, 1]) }, /^RangeError: run: product: got .* want \[2,1\]/],
    ['an offered dtype', { a, b }, { product: ints([2, 1]) }, /^TypeError: run: product: got .*int32 .* want float32/],
  ]
  for (const [what, inputs, into, error] of refusals) {
    it(`are refused with what was got and wanted: ${what}`, () => assert.rejects(make(affine)(inputs, into), error))
  }

  it('are refused by a session too, which names the input', async () => {
    const session = await device.open(toOnnx(trace(affine, { a, b })))
    opened.push(session)
    await assert.rejects(session.run({ a: floats([3, 3]), b }), /input: a .*Got: 3 Expected: 2/s)
    await assert.rejects(session.run({ a }), /input 'b' is missing/)
  })

  it('leave an offered array as it was', async () => {
    const product = floats([3, 1], [7, 8, 9])
    await assert.rejects(make(affine)({ a, b }, { product }))
    assert.deepEqual([...product.data], [7, 8, 9])
  })
})

describe('sessions', () => {
  it('are opened once for each signature of shapes, also by runs at the same time', async () => {
    let count = 0
    const counting: Device = {
      name: 'counting',
      open(model) {
        count += 1
        return device.open(model)
      },
    }
    const run = make(affine, counting)
    await Promise.all([run({ a, b }), run({ a: floats([2, 3]), b }), run({ a, b }, { product: floats([2, 1]) })])
    assert.deepEqual([count, run.sessions], [1, 1])
    await run({ a: floats([5, 3]), b })
    await run({ a, b })
    assert.deepEqual([count, run.sessions], [2, 2])
  })

  it('are not kept of shapes that could not be traced', async () => {
    const run = make(affine)
    await assert.rejects(run({ a, b: floats([2, 1]) }))
    assert.equal(run.sessions, 0)
    assert.deepEqual([...(await run({ a, b })).product!.data], [-2, -2])
  })

  it('are disposed as often as one likes, and then run no more', async () => {
    const session = await device.open(toOnnx(trace(affine, { a, b })))
    const { product } = await session.run({ a, b })
    await Promise.all([session.dispose(), session.dispose()])
    await session.dispose()
    await assert.rejects(session.run({ a, b }), /disposed/)
    assert.deepEqual([...product!.data], [-2, -2], 'results outlive their session')
  })

  it('of a compiled function go with it, and come again when it is run again', async () => {
    const run = make(affine)
    await run({ a, b })
    await run.dispose()
    await run.dispose()
    assert.equal(run.sessions, 0)
    assert.deepEqual([...(await run({ a, b })).product!.data], [-2, -2])
  })

  it('stop spinning between runs, and keep no memory pattern', async () => {
    const create = mock.method(InferenceSession, 'create')
    try {
      const two = await openDevice('cpu', { threads: 2, fallback: false })
      await (await two.open(toOnnx(trace(affine, { a, b })))).dispose()
      const options = create.mock.calls[0]!.arguments.at(-1) as unknown as InferenceSession.SessionOptions
      assert.deepEqual(options.executionProviders, ['cpu'])
      assert.deepEqual(options.extra, { session: { force_spinning_stop: '1' } })
      assert.equal(options.enableMemPattern, false)
      assert.equal(options.intraOpNumThreads, 2)
      assert.equal(options.preferredOutputLocation, undefined)
    } finally {
      create.mock.restore()
    }
  })

  it('are refused for what is no model', () => assert.rejects(device.open(Uint8Array.of(1, 2, 3)), /Failed to load/))
})
