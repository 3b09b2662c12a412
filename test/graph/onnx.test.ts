import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { floats, type NDArray, sizeOf } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { toOnnx, type Weight } from '../../src/graph/onnx.ts'
import { add, matmul } from '../../src/graph/ops.ts'
import { type Tensors, trace } from '../../src/graph/trace.ts'
import { openDevice } from '../../src/node/device.ts'

const device = await openDevice('cpu', { threads: 1 })

const affine = ({ x, w, b }: Tensors): Tensors => ({ y: add(matmul(x!, w!), b!) })
const bytes = ({ data }: NDArray) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

function normals(shape: readonly number[], seed: number) {
  const rng = random(seed)
  return floats(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => rng.normal()),
  )
}

/** Opens a model, runs it once and closes it. */
async function once(model: Uint8Array, inputs: Record<string, NDArray>, files?: Record<string, Uint8Array>) {
  const session = await device.open(model, files)
  const results = await session.run(inputs)
  await session.dispose()
  return results
}

describe('weights of a model', () => {
  const inputs = { x: normals([2, 3], 1), w: normals([3, 5], 2), b: normals([5], 3) }
  const graph = trace(affine, inputs)

  it('are what they would be as inputs, in the model or in files at any offset', async () => {
    const { y: want } = await once(toOnnx(graph), inputs)
    const { y: inside } = await once(toOnnx(graph, { weights: { w: { data: bytes(inputs.w) } } }), {
      x: inputs.x,
      b: inputs.b,
    })
    assert.deepEqual(inside, want)
    await fc.assert(
      fc.asyncProperty(fc.nat(40), fc.nat(40), async (before, between) => {
        const file = new Uint8Array(before + 60 + between + 20)
        file.set(bytes(inputs.w), before)
        file.set(bytes(inputs.b), before + 60 + between)
        const weights: Record<string, Weight> = {
          w: { file: 'some.onnx_data', offset: before, length: 60 },
          b: { file: 'some.onnx_data', offset: before + 60 + between, length: 20 },
        }
        const { y } = await once(toOnnx(graph, { weights }), { x: inputs.x }, { 'some.onnx_data': file })
        assert.deepEqual(y, want)
      }),
      { numRuns: 10 },
    )
  })

  it('that nothing reads are left out', async () => {
    const unread = trace(({ x, w }) => ({ y: add(x!, x!), z: add(w!, w!) }), inputs)
    const one = { ...unread, nodes: unread.nodes.slice(0, 1), outputs: { y: unread.outputs.y! } }
    const weight = (data: Uint8Array) => toOnnx(one, { weights: { w: { data } } })
    assert.deepEqual(weight(bytes(inputs.w)), weight(bytes(normals([3, 5], 9))))
  })

  it('must be inputs, and have as many bytes as they', () => {
    const four = { data: new Uint8Array(4) }
    assert.throws(() => toOnnx(graph, { weights: { v: four } }), {
      name: 'RangeError',
      message: 'toOnnx: got a weight v, want one of x, w, b',
    })
    assert.throws(() => toOnnx(graph, { weights: { b: four } }), {
      name: 'RangeError',
      message: 'toOnnx: weight b: got 4 bytes, want 20 for float32 [5]',
    })
  })
})
