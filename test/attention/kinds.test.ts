import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Attention } from '../../src/attention/attention.ts'
import { attentionOf, planNamed } from '../../src/attention/plan.ts'
import type { NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { vjp } from '../../src/graph/gradient.ts'
import { matmul } from '../../src/graph/ops.ts'
import type { Tensors } from '../../src/graph/trace.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { cut, dot, doubles, near, normals, run, singles, total } from '../tensors.ts'
import { otherKinds } from './examples.ts'
import { createReading } from './reading.ts'

const sizes = { heads: 3, headDim: 4 }
const causal = { causal: true }

/** q, k, v (b h l d) and parameters around where they begin, in float64. */
function caseOf(attention: Attention, l: number, seed: number, b = 2): Arrays {
  const rng = random(seed)
  const { heads, headDim } = sizes
  const specs = Object.entries(attention.params(sizes))
  return {
    ...Object.fromEntries(['q', 'k', 'v'].map((name) => [name, normals(rng.split(name), [b, heads, l, headDim])])),
    ...Object.fromEntries(specs.map(([path, { shape }]) => [path, normals(rng.split(path), shape, 0.7)])),
  }
}

const attend = (attention: Attention, inputs: Arrays) =>
  run(({ q, k, v, ...params }) => ({ y: attention.attend(params, { q: q!, k: k!, v: v! }, causal) }), inputs)

const parallel = (attention: Attention, inputs: Arrays) =>
  run(({ q, k, v, ...params }) => {
    const weights = attention.weights(params, { q: q!, k: k! }, causal)
    return { weights, y: matmul(weights, v!) }
  }, inputs)

/** Reads parts of the given lengths one after the other through the memory, in float32. */
async function throughMemory(attention: Attention, inputs: Arrays, lengths: readonly number[], places = false) {
  const reading = createReading(attention.memory(sizes))
  const y = await reading.read(singles(inputs), { lengths, places })
  await reading.dispose()
  return y
}

for (const name of otherKinds) {
  const attention = attentionOf(planNamed(name))
  describe(`attention by ${name}`, () => {
    it('gives by its fast form what its weights give, in short and long texts', async () => {
      for (const l of [1, 7, 150, 200]) {
        const inputs = caseOf(attention, l, l, 1)
        if (attention.positions && l > attention.positions) continue
        const want = await parallel(attention, inputs)
        near((await attend(attention, inputs)).y, want.y!, 1e-10, `${l} positions`)
        near((await attend(attention, singles(inputs))).y, want.y!, 2e-5, `${l} positions, float32`)
      }
    })

    it('has weights of at least 0 that sum to 1, or to 0 where a query sees nothing, and none on later keys', async () => {
      const l = 9
      const { weights } = await parallel(attention, caseOf(attention, l, 2))
      weights!.data.forEach((weight, i) => {
        const [key, query] = [i % l, Math.floor(i / l) % l]
        assert.ok(weight >= 0 && (key <= query || weight === 0), `key ${key} of query ${query}: ${weight}`)
      })
      for (let row = 0; row < weights!.data.length; row += l) {
        const whole = total(weights!.data.subarray(row, row + l))
        assert.ok(Math.abs(whole - 1) < 1e-12 || whole === 0, `${whole}`)
      }
    })

    it('gives through its memory, however a text is split, what it gives in one pass', async () => {
      const parts = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 })
      await fc.assert(
        fc.asyncProperty(parts, async (lengths) => {
          const l = total(lengths)
          const inputs = caseOf(attention, l, 3 + l)
          const { y } = await parallel(attention, inputs)
          near(await throughMemory(attention, inputs, lengths), y!, 2e-5)
          near(await throughMemory(attention, inputs, lengths, true), y!, 2e-5, 'with places to wait')
        }),
        { numRuns: 5, seed: 4 },
      )
    })

    it('gives through its memory, one position at a time, what it gives in one pass', async () => {
      const l = Math.min(41, attention.positions ?? Infinity)
      const inputs = caseOf(attention, l, 5)
      const { y } = await parallel(attention, inputs)
      for (const places of [false, true]) {
        near(await throughMemory(attention, inputs, Array(l).fill(1), places), y!, 2e-5, `places to wait: ${places}`)
      }
    })

    it('keeps earlier outputs in float32 whatever later keys are', async () => {
      const [l, from, d] = [150, 70, sizes.headDim]
      if (attention.positions && l > attention.positions) return
      const inputs = caseOf(attention, l, 6, 1)
      const k = inputs.k!
      const grown = Float64Array.from(k.data, (x, i) => (Math.floor(i / d) % l < from ? x : 100 * x))
      const changed = { ...inputs, k: doubles(k.shape, grown) }
      const early = (y: NDArray) => cut(y, 2, 0, from)
      const want = early((await parallel(attention, inputs)).y!)
      near(early((await parallel(attention, singles(changed))).y!), want, 2e-5, 'weights')
      near(early((await attend(attention, singles(changed))).y!), want, 2e-5, 'fast form')
      for (const parts of [[150], [60, 90], [69, 3, 78]]) {
        near(early(await throughMemory(attention, changed, parts)), want, 2e-5, `memory, parts of ${parts}`)
      }
      const single = [60, ...Array<number>(90).fill(1)]
      near(early(await throughMemory(attention, changed, single, true)), want, 2e-5, 'memory, places to wait')
    })

    it('remembers a number of bytes that does not depend on the text, but for a cache of all keys', () => {
      const memory = attention.memory(sizes)
      const bytes = (length: number) =>
        Object.values(memory.reserve(memory.empty(1), length)).reduce((sum, { data }) => sum + data.length, 0)
      if (name === 'softmax' || name.startsWith('top-k')) assert.ok(bytes(1000) > bytes(10))
      else assert.equal(bytes(1000), bytes(10))
    })

    it('has the gradient of central differences in its fast form', async () => {
      const inputs = caseOf(attention, 8, 6, 1)
      const dy = normals(random(7), [1, sizes.heads, 8, sizes.headDim])
      const names = Object.keys(inputs)
      const output = ({ q, k, v, ...params }: Tensors) => attention.attend(params, { q: q!, k: k!, v: v! }, causal)
      const gradients = await run(
        ({ dy: cotangent, ...given }) => {
          const d = vjp(
            [output(given)],
            [cotangent!],
            names.map((leaf) => given[leaf]!),
          )
          return Object.fromEntries(names.map((leaf, i) => [`d.${leaf}`, d[i]!]))
        },
        { ...inputs, dy },
      )
      const value = async (at: Arrays) => dot((await run((given) => ({ y: output(given) }), at)).y!, dy)
      const step = 1e-6
      for (const leaf of names) {
        const direction = normals(random(8).split(leaf), inputs[leaf]!.shape)
        const moved = (by: number) =>
          doubles(
            inputs[leaf]!.shape,
            Float64Array.from(inputs[leaf]!.data, (x, i) => x + by * direction.data[i]!),
          )
        const slope =
          ((await value({ ...inputs, [leaf]: moved(step) })) - (await value({ ...inputs, [leaf]: moved(-step) }))) /
          (2 * step)
        const want = dot(gradients[`d.${leaf}`]!, direction)
        assert.ok(Math.abs(slope - want) < 1e-5 * (1 + Math.abs(slope)), `${leaf}: ${want}, want ${slope}`)
      }
    })
  })
}

describe('the window hybrid', () => {
  for (const name of ['hybrid:3/hedgehog-exp', 'hybrid:3:2/hedgehog-exp', 'hybrid:3/hedgehog-exp:window-only']) {
    it(`reads queries whose exponentials leave the range of float32 in every form: ${name}`, async () => {
      const attention = attentionOf(planNamed(name))
      const l = 40
      for (const scale of [1, 40]) {
        const { q, ...others } = caseOf(attention, l, 3, 1)
        const inputs = {
          ...others,
          q: doubles(
            q!.shape,
            Float64Array.from(q!.data, (x) => scale * x),
          ),
        }
        const { weights, y } = await parallel(attention, inputs)
        for (let row = 0; row < weights!.data.length; row += l) {
          const whole = total(weights!.data.subarray(row, row + l))
          assert.ok(Math.abs(whole - 1) < 1e-9, `scale ${scale}, row ${row / l}: ${whole}`)
        }
        // Products of 40 times as much have 40 times the rounding.
        const tolerance = 2e-5 * scale
        near((await attend(attention, singles(inputs))).y!, y!, tolerance, 'fast form')
        for (const places of [false, true]) {
          near(await throughMemory(attention, inputs, Array<number>(l).fill(1), places), y!, tolerance, `${places}`)
        }
        near(await throughMemory(attention, inputs, [5, 35]), y!, tolerance, 'in two parts')
      }
    })
  }

  it("is the formula's, in plain loops", async () => {
    for (const [map, phi] of [
      ['hedgehog-softmax', softmaxFeatures],
      ['hedgehog-exp', exponentialFeatures],
    ] as const) {
      for (const sinks of [0, 2]) {
        const [l, w, d] = [9, 3, sizes.headDim]
        const attention = attentionOf({ kind: 'hybrid', map, window: w, sinks })
        const inputs = caseOf(attention, l, 9, 1)
        const { y } = await attend(attention, inputs)
        for (let head = 0; head < sizes.heads; head++) {
          const rows = (name: string) =>
            Array.from({ length: l }, (_, n) => [
              ...inputs[name]!.data.subarray((head * l + n) * d, (head * l + n + 1) * d),
            ])
          const weight = (side: string) =>
            Array.from({ length: d }, (_, i) => [
              ...inputs[`feature_map_${side}.weight`]!.data.subarray((head * d + i) * d, (head * d + i + 1) * d),
            ])
          const project = (x: number[], matrix: number[][]) =>
            matrix[0]!.map((_, c) => x.reduce((sum, value, i) => sum + value * matrix[i]![c]!, 0))
          const [q, k, v] = [rows('q'), rows('k'), rows('v')]
          const [phiQ, phiK] = [q.map((x) => phi(project(x, weight('q')))), k.map((x) => phi(project(x, weight('k'))))]
          const gamma = 1 / (1 + Math.exp(-inputs.window_gate!.data[head]!))
          for (let n = 0; n < l; n++) {
            const score = (i: number) => inner(q[n]!, k[i]!) / Math.sqrt(d)
            const near = Array.from({ length: n + 1 }, (_, i) => i).filter((i) => i > n - w || i < sinks)
            const top = Math.max(...near.map(score))
            const weights = Array.from({ length: n + 1 }, (_, i) =>
              i > n - w || i < sinks ? gamma * Math.exp(score(i) - top) : inner(phiQ[n]!, phiK[i]!),
            )
            const sum = total(weights)
            for (let e = 0; e < d; e++) {
              const want = weights.reduce((a, weight, i) => a + (weight / sum) * v[i]![e]!, 0)
              const got = y!.data[(head * l + n) * d + e]!
              assert.ok(
                Math.abs(got - want) < 1e-9,
                `${map}, ${sinks} sinks, head ${head}, query ${n}: ${got}, want ${want}`,
              )
            }
          }
        }
      }
    }
  })

  it('with as many sinks as positions is softmax attention', async () => {
    const hybrid = attentionOf(planNamed('hybrid:2:9'))
    const inputs = caseOf(hybrid, 9, 10)
    const { q, k, v } = inputs
    const want = await attend(attentionOf(planNamed('softmax')), { q: q!, k: k!, v: v! })
    near((await attend(hybrid, inputs)).y, want.y!, 1e-12)
  })

  it('sees no padding, in chunks and at once, with sinks and without', async () => {
    for (const name of ['hybrid:40', 'hybrid:40:3', 'hybrid:40:3/hedgehog-exp']) {
      const attention = attentionOf(planNamed(name))
      const [l, shorter] = [200, 150]
      const keyMask = doubles(
        [1, l],
        Float64Array.from({ length: l }, (_, i) => (i < shorter ? 1 : 0)),
      )
      const inputs = caseOf(attention, l, 12, 1)
      const found = await run(
        ({ keyMask: mask, q, k, v, ...params }) => {
          const [heads, seen] = [
            { q: q!, k: k!, v: v! },
            { causal: true, keyMask: mask! },
          ]
          return { y: attention.attend(params, heads, seen), want: matmul(attention.weights(params, heads, seen), v!) }
        },
        { ...inputs, keyMask },
      )
      near(cut(found.y!, 2, 0, shorter), cut(found.want!, 2, 0, shorter), 1e-10, name)
    }
  })

  it('with a window as long as the text is softmax attention', async () => {
    const hybrid = attentionOf(planNamed('hybrid:20'))
    const inputs = caseOf(hybrid, 20, 10)
    const { q, k, v } = inputs
    const want = await attend(attentionOf(planNamed('softmax')), { q: q!, k: k!, v: v! })
    near((await attend(hybrid, inputs)).y, want.y!, 1e-12)
  })

  it('refuses a model that sees later positions', async () => {
    const hybrid = attentionOf(planNamed('hybrid:3'))
    const bidirectional = run(
      ({ q, k, v, ...params }) => ({ y: hybrid.attend(params, { q: q!, k: k!, v: v! }, { causal: false }) }),
      caseOf(hybrid, 5, 11),
    )
    await assert.rejects(bidirectional, { name: 'RangeError', message: /hybrid.*causal/ })
  })
})

describe('top-k attention', () => {
  it('is softmax attention when k is as large as the text, to 1e-6 in float32', async () => {
    const [full, topK] = [attentionOf(planNamed('softmax')), attentionOf(planNamed('top-k:30'))]
    const inputs = singles(caseOf(full, 30, 12))
    near((await attend(topK, inputs)).y, (await attend(full, inputs)).y!, 1e-6)
  })

  it('gives weight to the k nearest keys alone', async () => {
    const topK = attentionOf(planNamed('top-k:3'))
    const { weights } = await parallel(topK, caseOf(topK, 8, 13))
    for (let row = 0; row < weights!.data.length; row += 8) {
      const query = (row / 8) % 8
      const seen = weights!.data.subarray(row, row + 8).filter((weight) => weight > 0).length
      assert.equal(seen, Math.min(3, query + 1))
    }
  })
})

const inner = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0)

const exponentialFeatures = (u: number[]): number[] => [...u.map(Math.exp), ...u.map((x) => Math.exp(-x))]

function softmaxFeatures(u: number[]): number[] {
  const half = (x: number[]) => {
    const e = x.map(Math.exp)
    return e.map((value) => value / total(e))
  }
  return [...half(u), ...half(u.map((x) => -x))]
}
