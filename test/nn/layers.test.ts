import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { matmul, transpose } from '../../src/graph/ops.ts'
import { dense, joinHeads, layerNorm, linear, repeatHeads, rmsNorm, rotary, splitHeads } from '../../src/nn/layers.ts'
import { project } from '../reference.ts'
import { cut, dot, doubles, near, normals, run } from '../tensors.ts'

/** Row-major numbers as rows of the last axis. */
function rowsOf({ shape, data }: NDArray): number[][] {
  const width = shape.at(-1)!
  return Array.from({ length: data.length / width }, (_, i) => [...data.subarray(i * width, (i + 1) * width)])
}

describe('linear', () => {
  it('is x W + b over the last axis, whatever stands before it', async () => {
    for (const lead of [[], [2], [2, 4]]) {
      const rng = random(1)
      const [x, weight, bias] = [normals(rng, [...lead, 1, 3]), normals(rng, [3, 5]), normals(rng, [5])]
      const { y, unbiased } = await run(
        (given) => {
          const params = { weight: given.weight!, bias: given.bias! }
          return { y: linear(params, given.x!), unbiased: linear({ weight: given.weight! }, given.x!) }
        },
        { x, weight, bias },
      )
      const shape = [...lead, 1, 5]
      assert.deepEqual([...y!.shape], shape)
      near(y, doubles(shape, project(rowsOf(x), rowsOf(weight), [...bias.data])), 1e-13)
      near(unbiased, doubles(shape, project(rowsOf(x), rowsOf(weight))), 1e-13)
    }
  })
})

describe('dense', () => {
  it('is the same with the weight stored by outputs', async () => {
    const rng = random(1)
    const [x, weight, bias] = [normals(rng, [2, 4, 3]), normals(rng, [3, 5]), normals(rng, [5])]
    const turned = doubles(
      [5, 3],
      Array.from({ length: 15 }, (_, at) => weight.data[(at % 3) * 5 + Math.floor(at / 3)]!),
    )
    const found = await run(
      (given) => ({
        y: dense({ weight: given.turned!, bias: given.bias! }, given.x!),
        unbiased: dense({ weight: given.turned! }, given.x!),
        want: linear({ weight: given.weight!, bias: given.bias! }, given.x!),
        wantUnbiased: linear({ weight: given.weight! }, given.x!),
      }),
      { x, weight, bias, turned },
    )
    near(found.y, found.want, 1e-14)
    near(found.unbiased, found.wantUnbiased, 1e-14)
  })
})

describe('rmsNorm', () => {
  it('gives rows of mean square 1, scaled, whatever the scale of x', async () => {
    for (const scale of [1, 1000]) {
      const [x, weight] = [normals(random(13), [2, 3, 5], scale), normals(random(14), [5])]
      const { y } = await run((given) => ({ y: rmsNorm({ weight: given.weight! }, given.x!, 1e-12) }), { x, weight })
      const want = rowsOf(x).map((row) => {
        const size = Math.sqrt(row.reduce((a, b) => a + b * b, 0) / 5)
        return row.map((value, c) => (value / size) * weight.data[c]!)
      })
      near(y, doubles([2, 3, 5], want), 1e-10)
    }
  })

  it('adds epsilon to the mean square', async () => {
    const given = { x: doubles([1, 2], [3, 4]), weight: doubles([2], [1, 1]) }
    const { y } = await run(({ x, weight }) => ({ y: rmsNorm({ weight: weight! }, x!, 3.5) }), given)
    near(y, { data: [3 / 4, 4 / 4] }, 1e-14)
  })
})

describe('layerNorm', () => {
  it('gives rows of mean 0 and variance 1, scaled and moved, whatever the scale of x', async () => {
    const rng = random(2)
    const params = { weight: normals(rng, [5]), bias: normals(rng, [5]) }
    for (const scale of [1, 1000]) {
      const x = normals(random(3), [2, 3, 5], scale)
      const { y } = await run(
        (given) => {
          return { y: layerNorm({ weight: given.weight!, bias: given.bias! }, given.x!, 1e-12) }
        },
        { x, ...params },
      )
      const want = rowsOf(x).map((row) => {
        const mean = row.reduce((a, b) => a + b) / 5
        const deviation = Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / 5)
        return row.map((value, c) => ((value - mean) / deviation) * params.weight.data[c]! + params.bias.data[c]!)
      })
      near(y, doubles([2, 3, 5], want), 1e-10)
    }
  })
})

describe('heads', () => {
  it('are joined to what they were split from, and each is a range of the width', async () => {
    const x = normals(random(4), [2, 5, 6])
    const { joined, heads } = await run(
      (given) => {
        const split = splitHeads(given.x!, 3)
        return { joined: joinHeads(split), heads: split }
      },
      { x },
    )
    assert.deepEqual([...heads!.shape], [2, 3, 5, 2])
    near(joined, x, 0)
    for (const head of [0, 1, 2]) near(cut(heads!, 1, head, head + 1), cut(x, 2, 2 * head, 2 * head + 2), 0)
  })

  it('are not split from a width that they do not divide', async () => {
    const refused = run((given) => ({ heads: splitHeads(given.x!, 4) }), { x: normals(random(5), [2, 5, 6]) })
    await assert.rejects(refused, { name: 'RangeError', message: /splitHeads: got a width of 6, want a multiple of 4/ })
  })

  it('that serve several queries are repeated next to each other', async () => {
    const x = normals(random(6), [2, 3, 4, 5])
    const { y } = await run((given) => ({ y: repeatHeads(given.x!, 2) }), { x })
    assert.deepEqual([...y!.shape], [2, 6, 4, 5])
    for (let head = 0; head < 6; head++) {
      const from = Math.floor(head / 2)
      near(cut(y!, 1, head, head + 1), cut(x, 1, from, from + 1), 0)
    }
  })
})

describe('rotary', () => {
  const d = 6

  /** Angles position · 10000^(−2i/d): (positions d/2). */
  function turned(x: NDArray, positions: readonly number[]): Promise<NDArray> {
    const angles = positions.flatMap((p) => Array.from({ length: d / 2 }, (_, i) => p * 10000 ** ((-2 * i) / d)))
    const shape = [positions.length, d / 2]
    const inputs = { x, cosine: doubles(shape, angles.map(Math.cos)), sine: doubles(shape, angles.map(Math.sin)) }
    return run((given) => ({ y: rotary(given.x!, given.cosine!, given.sine!) }), inputs).then(({ y }) => y!)
  }

  it('keeps the norm of every vector', async () => {
    const x = normals(random(7), [1, 2, 4, d])
    const norms = (array: NDArray) => rowsOf(array).map((row) => Math.hypot(...row))
    near(doubles([8], norms(await turned(x, [0, 1, 5, 900]))), { data: norms(x) }, 1e-13)
  })

  it('turns nothing at position 0', async () => {
    const x = normals(random(8), [1, 2, 1, d])
    near(await turned(x, [0]), x, 0)
  })

  it('makes products of queries and keys depend on how far they are apart alone', async () => {
    const [q, k] = [normals(random(9), [1, 1, 1, d]), normals(random(10), [1, 1, 1, d])]
    const product = async (m: number, n: number) => dot(await turned(q, [m]), await turned(k, [n]))
    for (const [m, n, shift] of [
      [3, 1, 7],
      [0, 5, 40],
      [12, 12, 1000],
    ] as const) {
      assert.ok(Math.abs((await product(m, n)) - (await product(m + shift, n + shift))) < 1e-11)
    }
    assert.ok(Math.abs((await product(3, 1)) - (await product(3, 2))) > 1e-3)
  })

  it('turns the pair of component i and component i + d/2', async () => {
    const { y } = await run((given) => ({ y: matmul(given.x!, transpose(given.x!)) }), {
      x: await turned(doubles([1, 1, 1, d], [1, 0, 0, 0, 0, 0]), [1]),
    })
    near(y, { data: [1] }, 1e-14)
    near(
      await turned(doubles([1, 1, 1, d], [1, 0, 0, 0, 0, 0]), [1]),
      { data: [Math.cos(1), 0, 0, Math.sin(1), 0, 0] },
      1e-14,
    )
  })

  it('turns the first components alone when the tables are narrower than half the head', async () => {
    const [x, angles] = [normals(random(11), [1, 2, 3, 7]), normals(random(12), [3, 2])]
    const tables = {
      cosine: { ...angles, data: angles.data.map(Math.cos) },
      sine: { ...angles, data: angles.data.map(Math.sin) },
    }
    const part = { x: cut(x, 3, 0, 4), ...tables }
    const turn = (inputs: Record<string, NDArray>) =>
      run((given) => ({ y: rotary(given.x!, given.cosine!, given.sine!) }), inputs).then(({ y }) => y!)
    const y = await turn({ x, ...tables })
    near(cut(y, 3, 0, 4), await turn(part), 0)
    near(cut(y, 3, 4, 7), cut(x, 3, 4, 7), 0)
  })

  it('takes tables of its own for each sequence', async () => {
    const [x, angles] = [normals(random(11), [2, 3, 4, 6]), normals(random(12), [2, 1, 4, 3])]
    const wave = (of: (angle: number) => number) => ({ ...angles, data: angles.data.map(of) })
    const turn = (inputs: Record<string, NDArray>) =>
      run((given) => ({ y: rotary(given.x!, given.cosine!, given.sine!) }), inputs).then(({ y }) => y!)
    const y = await turn({ x, cosine: wave(Math.cos), sine: wave(Math.sin) })
    for (const row of [0, 1]) {
      const own = (table: NDArray) => ({ ...cut(table, 0, row, row + 1), shape: [4, 3] })
      const alone = { x: cut(x, 0, row, row + 1), cosine: own(wave(Math.cos)), sine: own(wave(Math.sin)) }
      near(cut(y, 0, row, row + 1), await turn(alone), 1e-15)
    }
  })

  it('refuses tables wider than half the head', async () => {
    const odd = { x: normals(random(11), [1, 1, 1, 5]), c: normals(random(11), [1, 3]) }
    const refused = run((given) => ({ y: rotary(given.x!, given.c!, given.c!) }), odd)
    await assert.rejects(refused, {
      name: 'RangeError',
      message: /rotary: got tables of 3 columns, want at most half the head dimension 5/,
    })
  })
})
