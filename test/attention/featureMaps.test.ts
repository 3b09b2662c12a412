import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { featureMap, mapEntry, mapNamed } from '../../src/attention/featureMaps.ts'
import { featuresOf } from '../../src/attention/features.ts'
import { linearAttention, linearWeights } from '../../src/attention/linear.ts'
import { orthogonalFeatures } from '../../src/attention/maps/orthogonal.ts'
import { softmaxScores } from '../../src/attention/softmax.ts'
import type { NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { vjp } from '../../src/graph/gradient.ts'
import { add, matmul, transpose } from '../../src/graph/ops.ts'
import type { Tensors } from '../../src/graph/trace.ts'
import { initialise } from '../../src/nn/params.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { readGolden } from '../golden.ts'
import { dot, doubles, near, normals, run, singles, total } from '../tensors.ts'
import { caseOf, maps, paramsIn, referenceName, sizes } from './cases.ts'

const file = readGolden('attention.safetensors')
const golden = (name: string): NDArray => {
  const { shape, data } = file(name)
  return doubles(shape, data)
}
/** What the parameters of a map are called here and in the golden file. */
const goldenParams = {
  'feature_map_q.weight': 'wq',
  'feature_map_k.weight': 'wk',
  'feature_map_q.bias': 'bq',
  'feature_map_k.bias': 'bk',
} as const

function goldenInputs(reference: string, isCausal: boolean): Arrays {
  const learned = Object.entries(goldenParams).filter(([, from]) => hasGolden(`${reference}.causal.d${from}`))
  return {
    ...Object.fromEntries(['q', 'k', 'v', 'dy'].map((name) => [name, golden(name)])),
    ...(isCausal ? {} : { keyMask: golden('keyMask') }),
    ...Object.fromEntries(learned.map(([name, from]) => [name, golden(from)])),
  }
}

function hasGolden(name: string): boolean {
  try {
    golden(name)
    return true
  } catch {
    return false
  }
}

describe('feature maps against torch', () => {
  for (const [name, map] of maps) {
    const reference = referenceName(name)
    if (!reference) continue
    for (const mask of ['causal', 'bidirectional'] as const) {
      const isCausal = mask === 'causal'
      it(`${name}, ${mask}: weights, outputs and every gradient to 1e-9`, async () => {
        const inputs = goldenInputs(reference, isCausal)
        const leaves = Object.keys(inputs).filter((leaf) => leaf !== 'dy' && leaf !== 'keyMask')
        const found = await run((given) => {
          const { q, k, v, dy, keyMask } = given
          const visibility = { causal: isCausal, ...(keyMask && { keyMask }) }
          const y = linearAttention(map, paramsIn(given), q!, k!, v!, { ...visibility, chunk: 3 })
          const weights = linearWeights(map, paramsIn(given), q!, k!, visibility)
          const wrt = leaves.map((leaf) => given[leaf]!)
          const chunked = vjp([y], [dy!], wrt)
          const parallel = vjp([matmul(weights, v!)], [dy!], wrt)
          return {
            y,
            weights,
            ...Object.fromEntries(
              leaves.flatMap((leaf, i) => [
                [`d.${leaf}`, chunked[i]!],
                [`p.${leaf}`, parallel[i]!],
              ]),
            ),
          }
        }, inputs)
        near(found.y, golden(`${reference}.${mask}.y`), 1e-9, 'y')
        near(found.weights, golden(`${reference}.${mask}.weights`), 1e-9, 'weights')
        for (const leaf of leaves) {
          const want = golden(`${reference}.${mask}.d${goldenParams[leaf as keyof typeof goldenParams] ?? leaf}`)
          near(found[`d.${leaf}`], want, 1e-9, `chunked, gradient of ${leaf}`)
          near(found[`p.${leaf}`], want, 1e-9, `parallel, gradient of ${leaf}`)
        }
      })
    }
  }
})

for (const [name, map] of maps) {
  describe(`the map ${name}`, () => {
    it('has weights that do not depend on how far queries and keys are shifted', async () => {
      if (!map.magnitude) return
      const inputs = caseOf(map, 1)
      const shifts = { qShift: normals(random(2), [2, 3, 7, 1], 3), kShift: normals(random(3), [2, 3, 1, 1], 3) }
      const { shifted, plain } = await run(
        (given) => {
          const u = { q: map.project(paramsIn(given).q, given.q!), k: map.project(paramsIn(given).k, given.k!) }
          const phiQ = map.activate(u.q, given.qShift)
          const phiK = map.activate(u.k, given.kShift)
          const product = (a: typeof phiQ, b: typeof phiK) => matmul(a, transpose(b))
          return { shifted: product(phiQ, phiK), plain: product(map.activate(u.q), map.activate(u.k)) }
        },
        { ...inputs, ...shifts },
      )
      near(rowsNormalised(shifted!), rowsNormalised(plain!), 1e-12)
    })

    it('brings the largest feature of each row to 1', async () => {
      if (!map.magnitude) return
      const { phi } = await run((given) => ({ phi: featuresOf(map, paramsIn(given).k, given.k!).phi }), caseOf(map, 4))
      const f = map.features(sizes.d)
      for (let start = 0; start < phi!.data.length; start += f) {
        assert.ok(Math.abs(Math.max(...phi!.data.subarray(start, start + f)) - 1) < 1e-12)
      }
    })

    it('has the gradient of central differences, through every stabilisation', async () => {
      const inputs = caseOf(map, 5, { b: 1, h: 2, l: 5, d: 3, e: 2 })
      const dy = normals(random(6), [1, 2, 5, 2])
      const output = (given: Tensors) =>
        linearAttention(map, paramsIn(given), given.q!, given.k!, given.v!, { causal: true, chunk: 2 })
      const names = Object.keys(inputs)
      const gradients = await run(
        ({ dy: cotangent, ...given }) => {
          const wrt = names.map((leaf) => given[leaf]!)
          const d = vjp([output(given)], [cotangent!], wrt)
          return Object.fromEntries(names.map((leaf, i) => [`d.${leaf}`, d[i]!]))
        },
        { ...inputs, dy },
      )
      const value = async (at: Arrays) => dot((await run((given) => ({ y: output(given) }), at)).y!, dy)
      const step = 1e-6
      for (const leaf of names) {
        const direction = normals(random(7).split(leaf), inputs[leaf]!.shape)
        const at = (by: number) => value({ ...inputs, [leaf]: moved(inputs[leaf]!, direction, by) })
        const slope = ((await at(step)) - (await at(-step))) / (2 * step)
        const expected = dot(gradients[`d.${leaf}`]!, direction)
        assert.ok(Math.abs(slope - expected) < 1e-6 * (1 + Math.abs(slope)), `${leaf}: ${expected}, want ${slope}`)
      }
    })

    it('keeps gradients finite in float32 for inputs sixty times as large', async () => {
      const inputs = caseOf(map, 8, sizes, 60)
      const given = singles({ ...inputs, dy: normals(random(9), [2, 3, 7, 4]) })
      for (const causal of [true, false]) {
        const gradients = await run(({ dy, ...all }) => {
          const y = linearAttention(map, paramsIn(all), all.q!, all.k!, all.v!, { causal, chunk: 3 })
          const d = vjp([y], [dy!], Object.values(all))
          return Object.fromEntries(Object.keys(all).map((leaf, i) => [`d.${leaf}`, d[i]!]))
        }, given)
        for (const [leaf, { data }] of Object.entries(gradients)) assert.ok(data.every(Number.isFinite), leaf)
      }
    })

    it('says what it computes and where it comes from', () => {
      const { summary, source } = mapEntry(name)
      assert.ok(summary.length > 0 && summary.length < 100)
      assert.match(source, /\S/)
    })
  })
}

describe('hedgehog-exp', () => {
  const exp = featureMap('hedgehog-exp')

  it('has the kernel 2 Σ cosh(q + k) where it begins', async () => {
    const sides = Object.entries(initialise(exp.params({ heads: 3, headDim: 5 }), random(1)))
    const identity = Object.fromEntries(
      sides.flatMap(([path, { shape, data }]) => {
        const value = doubles(shape, Float64Array.from(data))
        return [
          [`feature_map_q.${path}`, value],
          [`feature_map_k.${path}`, value],
        ]
      }),
    )
    const inputs = { ...caseOf(exp, 2), ...identity }
    const { kernel } = await run((given) => {
      const { q, k } = paramsIn(given)
      const [phiQ, phiK] = [exp.activate(exp.project(q, given.q!)), exp.activate(exp.project(k, given.k!))]
      return { kernel: matmul(phiQ, transpose(phiK)) }
    }, inputs)
    const { l, d } = sizes
    const want = Float64Array.from(kernel!.data, (_, i) => {
      const [head, n, key] = [Math.floor(i / (l * l)), Math.floor(i / l) % l, i % l]
      const cosh = (_unused: unknown, c: number) =>
        Math.cosh(inputs.q!.data[(head * l + n) * d + c]! + inputs.k!.data[(head * l + key) * d + c]!)
      return 2 * Array.from({ length: d }, cosh).reduce((a, b) => a + b)
    })
    near(kernel, { data: want }, 1e-12)
  })

  it('is exact in float32 for logits that overflow without a shift', async () => {
    // One feature at a time is far from 0, so that no feature that counts is lost below the smallest float32.
    const inputs = caseOf(exp, 3)
    const far = {
      ...inputs,
      q: moved(inputs.q!, ones(inputs.q!.shape), 120),
      k: moved(inputs.k!, ones(inputs.k!.shape), 90),
    }
    const identity = (name: string) => (name.startsWith('feature_map') ? unit(inputs[name]!) : far[name as 'q']!)
    const given = Object.fromEntries(Object.keys(far).map((name) => [name, identity(name)]))
    const weights = (all: Tensors) => ({
      w: linearWeights(exp, paramsIn(all), all.q!, all.k!, { causal: true }),
    })
    const [single, double] = [await run(weights, singles(given)), await run(weights, given)]
    // Rounding 120 to float32 alone moves a logit by 4e-6.
    near(single.w, double.w!, 1e-4)
    assert.ok(single.w!.data.some((w) => w > 0 && w < 1))
  })
})

/** φ(q)·φ(k) of every pair, and q·k/√d: (b h l l). */
async function kernelOf(name: string, inputs: Arrays): Promise<{ kernel: NDArray; scores: NDArray }> {
  const map = featureMap(name)
  const found = await run((given) => {
    const { q, k } = paramsIn(given)
    const features = (params: Tensors, x: Tensors[string]) => map.activate(map.project(params, x))
    const kernel = matmul(features(q, given.q!), transpose(features(k, given.k!)))
    return { kernel, scores: softmaxScores(given.q!, given.k!, { causal: false }) }
  }, inputs)
  return { kernel: found.kernel!, scores: found.scores! }
}

describe('kernels', () => {
  const inputs = caseOf(featureMap('elu'), 20)
  const { l, d } = sizes
  const row = (name: 'q' | 'k', head: number, n: number) => [
    ...inputs[name]!.data.subarray((head * l + n) * d, (head * l + n + 1) * d),
  ]
  const inner = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0)
  const pairs = (kernel: (q: number[], k: number[], i: number, j: number) => number, count: number) => ({
    data: Float64Array.from({ length: count }, (_, at) => {
      const [head, i, j] = [Math.floor(at / (l * l)), Math.floor(at / l) % l, at % l]
      return kernel(row('q', head, i), row('k', head, j), i, j)
    }),
  })

  it('of taylor are 1 + s + s²/2, packed, for even and odd head dimensions', async () => {
    for (const headDim of [1, 2, 4, 5, 6]) {
      const given = caseOf(featureMap('taylor'), 21, { ...sizes, d: headDim })
      const { kernel } = await kernelOf('taylor', given)
      const part = (name: 'q' | 'k', at: number) => [...given[name]!.data.subarray(at * headDim, (at + 1) * headDim)]
      const want = Float64Array.from(kernel.data, (_, i) => {
        const key = Math.floor(i / (l * l)) * l + (i % l)
        const s = inner(part('q', Math.floor(i / l)), part('k', key)) / Math.sqrt(headDim)
        return 1 + s + (s * s) / 2
      })
      near(kernel, { data: want }, 1e-12, `d = ${headDim}`)
      assert.equal(featureMap('taylor').features(headDim), 1 + headDim + (headDim * (headDim + 1)) / 2)
    }
  })

  it('of rebased are the square of the normalised product, over d', async () => {
    const given = caseOf(featureMap('rebased'), 22)
    const { kernel } = await kernelOf('rebased', { ...inputs, ...given, q: inputs.q!, k: inputs.k! })
    const normal = (x: number[], side: string) => {
      const mean = total(x) / d
      const deviation = Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / d + 1e-5)
      const [gamma, beta] = ['gamma', 'beta'].map((part) => given[`feature_map_${side}.${part}`]!.data)
      return x.map((value, i) => ((value - mean) / deviation) * gamma![i]! + beta![i]!)
    }
    near(
      kernel,
      pairs((q, k) => inner(normal(q, 'q'), normal(k, 'k')) ** 2 / d, kernel.data.length),
      1e-11,
    )
  })

  it('of cosformer are relu(q)·relu(k) cos(π(i − j)/2M)', async () => {
    const { kernel } = await kernelOf('cosformer:16', inputs)
    const positive = (x: number[]) => x.map((value) => Math.max(value, 0))
    const want = pairs(
      (q, k, i, j) => inner(positive(q), positive(k)) * Math.cos((Math.PI * (i - j)) / 32),
      kernel.data.length,
    )
    near(kernel, want, 1e-12)
  })

  it('of exp-t are sums of e^(t(q + k))', async () => {
    const { kernel } = await kernelOf('exp-t:2', inputs)
    near(
      kernel,
      pairs((q, k) => q.reduce((sum, x, c) => sum + Math.exp(2 * (x + k[c]!)), 0), kernel.data.length),
      1e-12,
    )
  })

  it('of performer estimate e^s at small norms, the better the more features', async () => {
    const small = caseOf(featureMap('performer'), 23, sizes, 0.4)
    const error = async (m: number) => {
      const { kernel, scores } = await kernelOf(`performer:${m}`, small)
      return total(Array.from(kernel.data, (x, i) => Math.abs(x / Math.exp(scores.data[i]!) - 1))) / kernel.data.length
    }
    const [few, many] = [await error(5), await error(5000)]
    assert.ok(many < 0.02 && many < few / 5, `${few}, ${many}`)
  })

  it('of t2r are relu(x W + b) twice, whatever the number of features', async () => {
    for (const name of ['t2r', 't2r:3', 't2r-hh:9']) {
      const given = caseOf(featureMap(name), 24)
      const { kernel } = await kernelOf(name, given)
      assert.deepEqual([...kernel.shape], [sizes.b, sizes.h, l, l])
      assert.ok(kernel.data.every((x) => x >= 0))
    }
  })
})

describe('performer', () => {
  it('has directions that are orthogonal in every block, with lengths like those of normal vectors', () => {
    const d = 6
    const omega = orthogonalFeatures(2 * d, d)
    const direction = (i: number) => omega.subarray(i * d, (i + 1) * d)
    for (let i = 0; i < d; i++) {
      for (let j = 0; j < i; j++) {
        assert.ok(Math.abs(total(direction(i).map((x, c) => x * direction(j)[c]!))) < 1e-12)
      }
    }
    const many = orthogonalFeatures(4000, d)
    const meanSquare = total(many.map((x) => x * x)) / 4000
    assert.ok(Math.abs(meanSquare - d) < 0.3, `${meanSquare}`)
  })
})

describe('names of maps', () => {
  it('are the same however their variants are ordered', () => {
    assert.equal(mapNamed('hedgehog+tied+half'), 'hedgehog-exp+half+tied')
    assert.equal(mapNamed('exp-2'), 'exp-t:2')
  })

  it('that a map does not allow are refused with what it allows', () => {
    for (const [name, message] of [
      ['elu+half', /elu\+half.*no variant/],
      ['hedgehog+quarter', /quarter.*\+half, \+bias, \+tied/],
      ['elu:3', /elu without a number/],
      ['performer:0', /performer:N with features N/],
      ['performer:many', /whole number/],
    ] as const) {
      assert.throws(() => featureMap(name), { name: 'RangeError', message })
    }
  })

  it('of maps with positions refuse longer texts before any work', async () => {
    const short = caseOf(featureMap('cosformer:6'), 25)
    const refused = run(
      (given) => ({
        y: linearAttention(featureMap('cosformer:6'), paramsIn(given), given.q!, given.k!, given.v!, { causal: true }),
      }),
      short,
    )
    await assert.rejects(refused, { name: 'RangeError', message: /cosformer: got 7 positions, want at most 6/ })
  })
})

describe('featureMap', () => {
  it('names the known maps when asked for another', () => {
    assert.throws(() => featureMap('sofmax'), { name: 'RangeError', message: /sofmax.*hedgehog-exp.*relu/ })
  })

  it('adds the bias of a head to that head alone', async () => {
    const t2r = featureMap('t2r')
    const inputs = caseOf(t2r, 1)
    const { found, want } = await run(
      (given) => {
        const { q } = paramsIn(given)
        const { bias: _, ...unbiased } = q
        const broadcast = given.full!
        return { found: t2r.project(q, given.q!), want: add(t2r.project(unbiased, given.q!), broadcast) }
      },
      { ...inputs, full: repeatRows(inputs['feature_map_q.bias']!, sizes.b, sizes.l) },
    )
    near(found, want!, 1e-14)
  })
})

function rowsNormalised({ dtype, shape, data }: NDArray): NDArray {
  const s = shape.at(-1)!
  const result = Float64Array.from(data, (x, i) => {
    const row = i - (i % s)
    return x / total(data.subarray(row, row + s))
  })
  return { dtype, shape, data: result }
}

function moved(x: NDArray, direction: NDArray, by: number): NDArray {
  return doubles(
    x.shape,
    Float64Array.from(x.data, (value, i) => value + by * direction.data[i]!),
  )
}

const ones = (shape: readonly number[]): NDArray =>
  doubles(
    shape,
    Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 1),
  )

/** Unit matrices of the same shape. */
function unit({ shape }: NDArray): NDArray {
  const n = shape.at(-1)!
  const length = shape.reduce((a, b) => a * b, 1)
  return doubles(
    shape,
    Float64Array.from({ length }, (_, i) => (Math.floor(i / n) % n === i % n ? 1 : 0)),
  )
}

/** (h f) -> (b h l f). */
function repeatRows({ shape, data }: NDArray, b: number, l: number): NDArray {
  const [h, f] = shape as [number, number]
  const head = (i: number) => Math.floor(i / (l * f)) % h
  return doubles(
    [b, h, l, f],
    Float64Array.from({ length: b * h * l * f }, (_, i) => data[head(i) * f + (i % f)]!),
  )
}
