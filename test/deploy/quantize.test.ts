import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type FloatArray, floats, ints, type NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import type { GraphWeights } from '../../src/deploy/graph.ts'
import { blockFor, dequantized, quantized } from '../../src/deploy/quantize.ts'
import { stored, type WeightType } from '../../src/deploy/storage.ts'
import { traceDynamic } from '../../src/graph/dynamic.ts'
import { toOnnx } from '../../src/graph/onnx.ts'
import { gather, matmul, transpose } from '../../src/graph/ops.ts'
import { device, near, normals, run, singles } from '../tensors.ts'
import { joined } from './exports.ts'

const sizes = [4, 8].flatMap((bits) => [16, 32].map((block) => ({ bits: bits as 4 | 8, block })))

describe('numbers in blocks', () => {
  it('come back within two steps of their block', () => {
    for (const { bits, block } of sizes) {
      fc.assert(
        fc.property(
          fc.array(fc.float({ min: -9, max: 9, noNaN: true }), { minLength: block, maxLength: block }),
          (list) => {
            const values = Float32Array.from(list)
            const back = dequantized(quantized(values, { bits, block }), { bits, block })
            const step = Math.max(...values.map(Math.abs)) / 2 ** (bits - 1)
            values.forEach((value, i) => {
              assert.ok(Math.abs(value - back[i]!) <= 2 * step + 1e-6, `${value} came back as ${back[i]}`)
            })
          },
        ),
      )
    }
  })

  it('are exact where they are whole steps, and zeros stay zeros', () => {
    const steps = Float32Array.from({ length: 32 }, (_, i) => (i - 16) / 2)
    assert.deepEqual([...dequantized(quantized(steps, { bits: 8, block: 32 }), { bits: 8, block: 32 })], [...steps])
    const few = Float32Array.from({ length: 16 }, (_, i) => (i - 8) / 4)
    assert.deepEqual([...dequantized(quantized(few, { bits: 4, block: 16 }), { bits: 4, block: 16 })], [...few])
    const none = quantized(new Float32Array(32), { bits: 4, block: 32 })
    assert.deepEqual([...dequantized(none, { bits: 4, block: 32 })], Array(32).fill(0))
  })

  it('have low bits first, and a scale for every block', () => {
    const { codes, scales } = quantized(
      Float32Array.from({ length: 32 }, (_, i) => (i < 16 ? i - 8 : 0)),
      {
        bits: 4,
        block: 16,
      },
    )
    assert.deepEqual([...codes.subarray(0, 3)], [0x10, 0x32, 0x54])
    assert.deepEqual([...codes.subarray(8)], Array(8).fill(0x88))
    assert.deepEqual([...scales], [1, 0])
  })

  it('must divide a row', () => {
    assert.deepEqual([64, 48, 40].map(blockFor), [32, 16, undefined])
    assert.throws(() => quantized(new Float32Array(40), { bits: 4, block: 16 }), { name: 'RangeError' })
  })
})

/** A table that is looked up and multiplied with, and a matrix that is multiplied with as it is. */
const weights = singles({
  'p.table': normals(random(1), [5, 32]),
  'p.matrix': normals(random(2), [48, 7]),
  'p.bent': normals(random(3), [3, 40]),
})
/** Weights that are read when they are asked for. */
const readOf = (arrays: Readonly<Record<string, NDArray>>): GraphWeights =>
  Object.fromEntries(
    Object.entries(arrays).map(([name, array]) => [
      name,
      { shape: array.shape, read: async () => array as FloatArray },
    ]),
  )
const graph = traceDynamic(
  ({ ids, x, 'p.table': table, 'p.matrix': matrix, 'p.bent': bent }) => ({
    rows: gather(table!, ids!),
    head: matmul(gather(table!, ids!), transpose(table!)),
    product: matmul(x!, matrix!),
    bentProduct: matmul(gather(bent!, ids!), transpose(bent!)),
  }),
  {
    ids: { dtype: 'int32', shape: ['batch_size', 'sequence_length'] },
    x: { dtype: 'float32', shape: ['batch_size', 48] },
    ...weights,
  },
)

describe('stored weights', () => {
  const inputs = singles({ ids: ints([2, 3], [0, 2, 1, 1, 2, 0]), x: normals(random(4), [2, 48]) })
  const types: WeightType[] = ['float32', 'float16', 'int8', 'int4']

  for (const type of types) {
    it(`give in ${type} what the values they stand for give`, async () => {
      const done = stored(graph, readOf(weights), { type, fine: new Set(['p.table']) })
      const bytes: Record<string, { data: Uint8Array }> = {}
      for (const { name, sameAs } of done.weights) {
        const of = done.weights.find((one) => one.name === (sameAs ?? name))!
        bytes[name] = { data: new Uint8Array(await joined(of.bytes())) }
      }
      const session = await device.open(toOnnx(done.graph, { weights: bytes }))
      const got = await session.run(inputs)
      await session.dispose()
      const values: Record<string, NDArray> = { ...weights }
      for (const [name, read] of done.changed) values[name] = await read()
      const want = await run(
        ({ ids, x, 'p.table': table, 'p.matrix': matrix, 'p.bent': bent }) => ({
          rows: gather(table!, ids!),
          head: matmul(gather(table!, ids!), transpose(table!)),
          product: matmul(x!, matrix!),
          bentProduct: matmul(gather(bent!, ids!), transpose(bent!)),
        }),
        { ...inputs, ...values },
      )
      for (const [name, array] of Object.entries(want)) near(got[name], array, type === 'float16' ? 2e-3 : 1e-5, name)
      const changed = [...done.changed.keys()]
      const all = ['p.table', 'p.matrix', 'p.bent']
      assert.deepEqual(changed, type === 'float32' ? [] : type === 'float16' ? all : all.slice(0, 2))
    })
  }

  it('that are looked up and multiplied with are stored once', () => {
    const { weights: list } = stored(graph, readOf(weights), { type: 'int8', fine: new Set() })
    const rows = list.find(({ name }) => name === 'p.table.rows')!
    assert.equal(rows.sameAs, 'p.table.codes')
    assert.deepEqual(
      [rows.shape, list.find(({ name }) => name === 'p.table.codes')!.shape],
      [
        [5, 32],
        [5, 1, 32],
      ],
    )
  })

  it('that float16 cannot hold are refused by name', async () => {
    const large = { ...weights, 'p.matrix': floats([48, 7], new Float32Array(336).fill(1e5)) }
    const { weights: list } = stored(graph, readOf(large), { type: 'float16', fine: new Set() })
    await assert.rejects(joined(list.find(({ name }) => name === 'p.matrix.half')!.bytes()), {
      name: 'RangeError',
      message: 'export: p.matrix: got the value 100000, too large for float16; export as float32',
    })
  })
})
