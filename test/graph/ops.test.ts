import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { linearRecurrence, matmul, reshape, rotate, transpose } from '../../src/graph/ops.ts'
import { type Tensors, trace } from '../../src/graph/trace.ts'
import { compile } from '../../src/runtime/compile.ts'
import { device, near, normals, run, singles } from '../tensors.ts'

const operators = (fn: (inputs: Tensors) => Tensors, inputs: Record<string, NDArray>) =>
  trace(fn, inputs).nodes.map(({ op }) => op)

describe('a product with a transposed matrix', () => {
  it('is the same turned round, where the trace says so and rows are few', async () => {
    for (const rows of [1, 2, 7, 8]) {
      const rng = random(rows)
      const [x, w] = [normals(rng, [rows, 5]), normals(rng, [3, 5])]
      const product = ({ x, w }: Tensors) => ({ y: matmul(x!, transpose(w!)) })
      const options = { turnedRows: 7 }
      const turned = compile(device, product, options)
      near((await turned({ x, w })).y, (await run(product, { x, w })).y, 1e-13)
      await turned.dispose()
      const { nodes, inputs } = trace(product, { x, w }, options)
      const [first] = nodes.find(({ op }) => op === 'MatMul')!.inputs
      assert.equal(first === inputs.w, rows <= 7, `the matrix comes first of ${rows} rows`)
    }
  })
})

describe('a new shape', () => {
  const x = normals(random(1), [2, 1, 3])

  it('costs one operator however often it changes, and none when it is the old one again', () => {
    assert.deepEqual(
      operators(({ x }) => ({ y: reshape(reshape(x!, [6]), [3, 2]) }), { x }),
      ['Reshape'],
    )
    assert.deepEqual(
      operators(({ x }) => ({ y: reshape(reshape(x!, [6]), [2, 1, 3]) }), { x }),
      [],
    )
  })

  it('is all that a permutation comes to which moves only axes of size 1', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom<number[]>(1, 1, 2, 3), { minLength: 2, maxLength: 5 }),
        fc.nat(),
        async (shape, seed) => {
          const rng = random(seed)
          const perm = shape.map((_, axis) => ({ axis, at: rng.uniform() }))
          const order = perm.toSorted((a, b) => a.at - b.at).map(({ axis }) => axis)
          const x = normals(rng, shape)
          const { y } = await run(({ x }) => ({ y: transpose(x!, order) }), { x })
          const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1))
          const to = order.map((axis) => shape[axis]!)
          const want = Array.from(y!.data, (_, at) => {
            let rest = at
            let from = 0
            for (let i = to.length - 1; i >= 0; i--) {
              from += (rest % to[i]!) * strides[order[i]!]!
              rest = Math.floor(rest / to[i]!)
            }
            return x.data[from]!
          })
          assert.deepEqual(y!.shape, to)
          assert.deepEqual([...y!.data], want)
        },
      ),
      { numRuns: 40 },
    )
  })
})

describe("the engine's operators", () => {
  it('turn pairs as they do written out', async () => {
    const rng = random(3)
    const inputs = {
      x: normals(rng, [2, 3, 5, 4]),
      cosine: normals(rng, [2, 1, 5, 2]),
      sine: normals(rng, [2, 1, 5, 2]),
      oneCosine: normals(rng, [5, 2]),
      oneSine: normals(rng, [5, 2]),
    }
    const both = ({ x, cosine, sine, oneCosine, oneSine }: Tensors): Tensors => ({
      own: rotate(x!, cosine!, sine!),
      alike: rotate(x!, oneCosine!, oneSine!),
    })
    // In float64 they are written out in small operators.
    const [want, got] = [await run(both, inputs), await run(both, singles(inputs))]
    for (const name of Object.keys(want)) near(got[name], want[name], 3e-6)
  })

  it('let the past of linear attention decay before each position', async () => {
    const rng = random(3)
    const [l, h, f, e] = [4, 2, 3, 5]
    const inputs = {
      q: normals(rng, [1, l, h * f]),
      k: normals(rng, [1, l, h * f]),
      v: normals(rng, [1, l, h * e]),
      past: normals(rng, [1, h, f, e]),
      decay: normals(rng, [1, l, h]),
    }
    const { out, total } = await run(
      ({ q, k, v, past, decay }) => linearRecurrence(q!, k!, v!, past!, decay!) as unknown as Tensors,
      singles(inputs),
    )
    const sums = Float64Array.from(inputs.past.data)
    const want = Float64Array.from({ length: l * h * e }, () => 0)
    for (let n = 0; n < l; n++) {
      for (let at = 0; at < h * f * e; at++) {
        const [head, feature, column] = [Math.floor(at / (f * e)), Math.floor(at / e) % f, at % e]
        const row = n * h * f + head * f + feature
        const value = inputs.v.data[n * h * e + head * e + column]!
        sums[at] = sums[at]! * Math.exp(inputs.decay.data[n * h + head]!) + inputs.k.data[row]! * value
        want[n * h * e + head * e + column]! += inputs.q.data[row]! * sums[at]!
      }
    }
    near(out, { data: want }, 1e-5)
    near(total, { data: sums }, 1e-5)
  })

  it('refuse a decay and tables of another size', () => {
    const [x, past] = [normals(random(1), [1, 2, 6]), normals(random(1), [1, 2, 3, 3])]
    assert.throws(
      () => trace(({ x, past }) => ({ y: linearRecurrence(x!, x!, x!, past!, x!).out }), { x, past }),
      /LinearAttention: got/,
    )
    assert.throws(
      () => trace(({ past }) => ({ y: rotate(past!, past!, past!) }), { past }),
      /rotate: got .* want \(b h l d\)/,
    )
  })
})
