import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { softmaxAttention, softmaxWeights } from '../../src/attention/softmax.ts'
import type { NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { vjp } from '../../src/graph/gradient.ts'
import { matmul } from '../../src/graph/ops.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { matrices, readGolden } from '../golden.ts'
import * as reference from '../reference.ts'
import { cut, doubles, join, near, normals, run, singles } from '../tensors.ts'

const file = readGolden('attention.safetensors')
const golden = (name: string): NDArray => {
  const { shape, data } = file(name)
  return doubles(shape, data)
}

/** q and k (2 3 l 4), whose factor 1 / √4 is exact, and v (2 3 s 5). */
function heads(seed: number, l: number, s = l, scale = 1): Arrays {
  const rng = random(seed)
  const part = (name: string, length: number, width: number) =>
    normals(rng.split(name), [2, 3, length, width], name === 'v' ? 1 : scale)
  return { q: part('q', l, 4), k: part('k', s, 4), v: part('v', s, 5) }
}

function attend(inputs: Arrays, causal: boolean): Promise<Arrays> {
  return run(({ q, k, v, keyMask }) => {
    const visibility = { causal, ...(keyMask && { keyMask }) }
    return { weights: softmaxWeights(q!, k!, visibility), y: softmaxAttention(q!, k!, v!, visibility) }
  }, inputs)
}

const rowsOf = ({ shape, data }: NDArray) => matrices({ shape, data: data as Float64Array })

describe('softmax attention', () => {
  for (const causal of [true, false]) {
    const mask = causal ? 'causal' : 'bidirectional'

    it(`is the reference's, ${mask}`, async () => {
      for (const [l, s] of [
        [7, 7],
        [3, 5],
        [1, 4],
      ] as const) {
        const inputs = heads(l, l, s)
        const weights = rowsOf(inputs.q!).map((q, i) => reference.softmaxWeights(q, rowsOf(inputs.k!)[i]!, { causal }))
        const y = weights.map((rows, i) => reference.attend(rows, rowsOf(inputs.v!)[i]!))
        for (const [given, tolerance] of [
          [inputs, 1e-12],
          [singles(inputs), 1e-5],
        ] as const) {
          const found = await attend(given, causal)
          near(found.weights, doubles([2, 3, l, s], weights), tolerance)
          near(found.y, doubles([2, 3, l, 5], y), tolerance)
        }
      }
    })

    it(`has the outputs and gradients of torch, ${mask}`, async () => {
      const leaves = ['q', 'k', 'v']
      const names = [...leaves, 'dy', ...(causal ? [] : ['keyMask'])]
      const found = await run(
        ({ dy, keyMask, q, k, v }) => {
          const visibility = { causal, ...(keyMask && { keyMask }) }
          const y = softmaxAttention(q!, k!, v!, visibility)
          const [dq, dk, dv] = vjp([y], [dy!], [q!, k!, v!])
          return { y, weights: softmaxWeights(q!, k!, visibility), dq: dq!, dk: dk!, dv: dv! }
        },
        Object.fromEntries(names.map((name) => [name, golden(name)])),
      )
      for (const [name, array] of Object.entries(found)) {
        // ONNX Runtime folds 1 / √5 into the matrix product, as a float32 even between float64 operands.
        near(array, golden(`softmax-attention.${mask}.${name}`), 3e-8, name)
      }
    })

    it(`does not see anything that stands in padding, ${mask}`, async () => {
      const keyMask = doubles([2, 7], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0])
      const inputs: Arrays = { ...heads(1, 7), keyMask }
      const { y } = await attend(inputs, causal)
      const other = (x: NDArray) => {
        const kept = x.data.length / 2
        const inner = x.shape[3]!
        const rng = random(2)
        return doubles(
          x.shape,
          Float64Array.from(x.data, (value, i) =>
            i >= kept && Math.floor(i / inner) % 7 >= 4 ? 300 * rng.normal() : value,
          ),
        )
      }
      const changed = { ...inputs, k: other(inputs.k!), v: other(inputs.v!) }
      near((await attend(changed, causal)).y, y!, 1e-12)
      near((await attend(singles(changed), causal)).y, y!, 1e-5)
    })
  }

  it('gives the same in four blocks of queries as in one', async () => {
    const [q, k, v] = [heads(3, 132).q!, heads(3, 132).k!, heads(3, 132).v!]
    const dy = normals(random(4), v.shape)
    const found = await run(
      (given) => {
        const [a, b, c] = [given.q!, given.k!, given.v!]
        const blocks = softmaxAttention(a, b, c, { causal: true })
        const whole = matmul(softmaxWeights(a, b, { causal: true }), c)
        const d = [blocks, whole].map((y) => vjp([y], [given.dy!], [a, b, c]))
        return { blocks, whole, ...Object.fromEntries(d.flatMap((list, i) => list.map((x, j) => [`d${i}${j}`, x]))) }
      },
      { q, k, v, dy },
    )
    near(found.blocks, found.whole!, 1e-12)
    for (const j of [0, 1, 2]) near(found[`d0${j}`], found[`d1${j}`]!, 1e-12, `gradient ${j}`)
  })

  it('never lets a later position change an earlier output', async () => {
    for (const l of [7, 128]) {
      const inputs = heads(5, l)
      const later = (x: NDArray) => join([cut(x, 2, 0, 3), normals(random(6), x.shape.with(2, l - 3), 50)], 2)
      const { y } = await attend({ ...inputs, k: later(inputs.k!), v: later(inputs.v!) }, true)
      near(cut(y!, 2, 0, 3), cut((await attend(inputs, true)).y!, 2, 0, 3), 1e-12)
    }
  })

  it('stays finite in float32 for large scores, and for a query that sees no key', async () => {
    const inputs = { ...heads(7, 7, 7, 60), keyMask: doubles([2, 7], [0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]) }
    for (const causal of [true, false]) {
      const { weights, y } = await attend(singles(inputs), causal)
      for (const { data } of [weights!, y!]) assert.ok(data.every(Number.isFinite))
    }
  })
})
