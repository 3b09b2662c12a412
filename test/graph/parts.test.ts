import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import { traceDynamic } from '../../src/graph/dynamic.ts'
import { toOnnx, usedInputs } from '../../src/graph/onnx.ts'
import { add, matmul, relu, transpose } from '../../src/graph/ops.ts'
import { cutName, graphParts } from '../../src/graph/parts.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { device, near, normals, singles } from '../tensors.ts'

/** Two layers that each add what they kept before, and share a bias. */
const traced = traceDynamic(
  ({ x, bias, w0, w1, past0, past1 }) => {
    const first = relu(add(x!, bias!))
    const [kept0, second] = [matmul(first, w0!), add(matmul(first, w0!), past0!)]
    const [kept1, third] = [matmul(second, w1!), add(add(matmul(second, w1!), past1!), bias!)]
    return { first, second, kept0, kept1, doubled: add(bias!, bias!), y: matmul(third, transpose(w1!)) }
  },
  {
    x: { dtype: 'float32', shape: ['rows', 4] },
    bias: { dtype: 'float32', shape: [4] },
    w0: { dtype: 'float32', shape: [4, 4] },
    w1: { dtype: 'float32', shape: [4, 4] },
    past0: { dtype: 'float32', shape: ['rows', 4] },
    past1: { dtype: 'float32', shape: ['rows', 4] },
  },
)
const { first, second, ...outputs } = traced.outputs
const graph = { ...traced, outputs }
const parts = graphParts(graph, [first!, second!], (name) => name.startsWith('w'))

describe('a graph in parts', () => {
  it('gives what it gives whole', async () => {
    const shapes = { x: [3, 4], bias: [4], w0: [4, 4], w1: [4, 4], past0: [3, 4], past1: [3, 4] }
    const drawn = Object.entries(shapes).map(([name, shape]) => [name, normals(random(1).split(name), shape)])
    const inputs: Arrays = singles(Object.fromEntries(drawn))
    const whole = await device.open(toOnnx(graph))
    const want = await whole.run(inputs)
    await whole.dispose()
    let known = inputs
    for (const part of parts) {
      const session = await device.open(toOnnx(part))
      const given = Object.fromEntries(usedInputs(part).map((name) => [name, known[name]!]))
      known = { ...known, ...(await session.run(given)) }
      await session.dispose()
    }
    for (const [name, array] of Object.entries(want)) near(known[name], array, 1e-6, name)
  })

  it('has in each part the weights that it reads and the results that need no later one', () => {
    assert.deepEqual(
      parts.map((part) => Object.keys(part.outputs)),
      [
        [cutName(0), 'doubled'],
        [cutName(1), 'kept0'],
        ['kept1', 'y'],
      ],
    )
    assert.deepEqual(
      parts.map((part) => Object.keys(part.inputs).filter((name) => name.startsWith('w'))),
      [[], ['w0'], ['w1']],
    )
    assert.deepEqual(usedInputs(parts[1]!).sort(), [cutName(0), 'past0', 'w0'])
  })
})
