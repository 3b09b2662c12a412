import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { type NDArray, sizeOf } from '../../src/base/array.ts'
import { type Random, random } from '../../src/base/random.ts'
import { vjp } from '../../src/graph/gradient.ts'
import type { Example } from '../../src/graph/operator.ts'
import { primitives } from '../../src/graph/primitives.ts'
import type { Tensor } from '../../src/graph/tensor.ts'
import { type Tensors, trace } from '../../src/graph/trace.ts'
import { openDevice } from '../../src/node/device.ts'
import { compile } from '../../src/runtime/compile.ts'
import type { Arrays } from '../../src/runtime/device.ts'

const device = await openDevice('cpu')
const compiled: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const fn of compiled) await fn.dispose()
})

function make(fn: (inputs: Tensors) => Tensors) {
  const ready = compile(device, fn)
  compiled.push(ready)
  return ready
}

function inputsOf(example: Example, rng: Random): Record<string, NDArray> {
  const [low, high] = example.range ?? [-2, 2]
  return Object.fromEntries(
    example.shapes.map((shape, i) => {
      const bound = example.integers?.[i]
      const size = sizeOf(shape)
      const array: NDArray = bound
        ? { dtype: 'int32', shape, data: Int32Array.from({ length: size }, () => rng.integer(bound)) }
        : {
            dtype: 'float64',
            shape,
            data: Float64Array.from({ length: size }, () => low + (high - low) * rng.uniform()),
          }
      return [`x${i}`, array]
    }),
  )
}

const operands = (inputs: Tensors): Tensor[] =>
  Object.keys(inputs)
    .filter((name) => name.startsWith('x'))
    .map((name) => inputs[name]!)

for (const [op, operator] of Object.entries(primitives)) {
  describe(op, () => {
    operator.examples.forEach((example, index) => {
      const what = `${JSON.stringify(example.shapes)} ${JSON.stringify(example.attrs ?? {})}`
      const apply = (inputs: Tensors) => {
        const xs = operands(inputs)
        return xs[0]!.trace.apply(op, xs, example.attrs)
      }
      const forward = (inputs: Tensors) => Object.fromEntries(apply(inputs).map((y, i) => [`y${i}`, y]))

      it(`has the shapes that ONNX Runtime gives, ${what}`, async () => {
        const inputs = inputsOf(example, random(index))
        const graph = trace(forward, inputs)
        const results = await make(forward)(inputs)
        for (const [name, id] of Object.entries(graph.outputs)) {
          assert.deepEqual([...results[name]!.shape], [...graph.values[id]!.shape])
        }
      })

      if (!operator.grad) return
      it(`has the gradient of central differences, ${what}`, async () => {
        const rng = random(100 + index)
        const inputs = inputsOf(example, rng)
        const outputs = await make(forward)(inputs)
        const seen = op === 'LayerNormalization' ? ['y0'] : Object.keys(outputs)
        const weights = Object.fromEntries(seen.map((name) => [`w_${name}`, randomLike(outputs[name]!, rng)]))
        const gradients = await make((all) => {
          const ys = apply(all)
          const wrt = operands(all).filter((x) => x.dtype !== 'int32')
          const dx = vjp(
            seen.map((name) => ys[Number(name.slice(1))]!),
            seen.map((name) => all[`w_${name}`]!),
            wrt,
          )
          return Object.fromEntries(wrt.map((x, i) => [`d${operands(all).findIndex((y) => y.id === x.id)}`, dx[i]!]))
        })({ ...inputs, ...weights })
        const f = make(forward)
        const value = async (at: Arrays) => {
          const ys = await f(at)
          return seen.reduce((total, name) => total + dot(ys[name]!, weights[`w_${name}`]!), 0)
        }
        for (const [name, gradient] of Object.entries(gradients)) {
          const key = `x${name.slice(1)}`
          const direction = randomLike(inputs[key]!, rng)
          const h = 1e-5
          const slope =
            ((await value(moved(inputs, key, direction, h))) - (await value(moved(inputs, key, direction, -h)))) /
            (2 * h)
          const expected = dot(gradient, direction)
          assert.ok(
            Math.abs(slope - expected) <= 1e-6 * (1 + Math.abs(expected)),
            `${key}: ${slope} is not ${expected}`,
          )
        }
      })
    })
  })
}

function randomLike({ shape }: NDArray, rng: Random): NDArray {
  return { dtype: 'float64', shape, data: Float64Array.from({ length: sizeOf(shape) }, () => rng.normal()) }
}

function dot(a: NDArray, b: NDArray): number {
  let total = 0
  for (let i = 0; i < a.data.length; i++) total += a.data[i]! * b.data[i]!
  return total
}

function moved(inputs: Arrays, key: string, direction: NDArray, h: number): Arrays {
  const data = Float64Array.from(inputs[key]!.data, (x, i) => x + h * direction.data[i]!)
  return { ...inputs, [key]: { ...inputs[key]!, data } }
}
