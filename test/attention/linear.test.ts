import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { FeatureMap } from '../../src/attention/featureMaps.ts'
import { linearAttention, linearAttentionFrom, linearWeights } from '../../src/attention/linear.ts'
import type { NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { matmul } from '../../src/graph/ops.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { cut, doubles, join, near, normals, run, singles, total } from '../tensors.ts'
import { caseOf, expected, maps, paramsIn, sizes } from './cases.ts'

const causal = { causal: true }
const both = [true, false] as const

/** Weights, and the output as weights · v: the parallel form. `keyMask` among the inputs is used. */
function parallel(map: FeatureMap, inputs: Arrays, isCausal: boolean): Promise<Arrays> {
  return run((given) => {
    const { q, k, v, keyMask } = given
    const visibility = { causal: isCausal, ...(keyMask && { keyMask }) }
    const weights = linearWeights(map, paramsIn(given), q!, k!, visibility)
    return { weights, y: matmul(weights, v!) }
  }, inputs)
}

async function direct(map: FeatureMap, inputs: Arrays, isCausal: boolean, chunk?: number): Promise<NDArray> {
  const { y } = await run((given) => {
    const { q, k, v, keyMask } = given
    const options = { causal: isCausal, ...(keyMask && { keyMask }), ...(chunk && { chunk }) }
    return { y: linearAttention(map, paramsIn(given), q!, k!, v!, options) }
  }, inputs)
  return y!
}

/** Goes through the positions in parts of the given lengths, with the state handed on. */
async function stepwise(map: FeatureMap, inputs: Arrays, lengths: readonly number[], chunk?: number): Promise<NDArray> {
  const { q, k, v, ...params } = inputs
  const [b, h, , e] = v!.shape as [number, number, number, number]
  const f = map.features(q!.shape[3]!)
  const size = b * h * f * (e + 1)
  let state: Arrays = { sums: doubles([b, h, f, e + 1], new Float64Array(size)) }
  if (q!.dtype === 'float32') state = singles(state)
  const parts: NDArray[] = []
  let start = 0
  for (const length of lengths) {
    const end = start + length
    const part = { q: cut(q!, 2, start, end), k: cut(k!, 2, start, end), v: cut(v!, 2, start, end) }
    const { y, ...next } = await run(
      ({ sums, shift, at, ...given }) => {
        const from = { sums: sums!, ...(shift && { shift }), ...(map.positions && { start: at! }) }
        const found = linearAttentionFrom(map, paramsIn(given), from, given.q!, given.k!, given.v!, chunk)
        const { sums: nextSums, shift: nextShift } = found.state
        return { y: found.y, nextSums, ...(nextShift && { nextShift }) }
      },
      { ...part, ...params, ...state, ...at(start, q!.dtype) },
    )
    state = { sums: next.nextSums!, ...(next.nextShift && { shift: next.nextShift }) }
    parts.push(y!)
    start = end
  }
  return join(parts, 2)
}

const at = (start: number, dtype: string): Arrays => {
  const array = { at: doubles([1, 1, 1, 1], [start]) }
  return dtype === 'float32' ? singles(array) : array
}

for (const [name, map] of maps) {
  describe(`linear attention with ${name}`, () => {
    it('gives as many features as the map says', async () => {
      const inputs = caseOf(map, 1)
      const { phi } = await run((given) => ({ phi: map.activate(map.project(paramsIn(given).q, given.q!)) }), inputs)
      assert.deepEqual([...phi!.shape], [sizes.b, sizes.h, sizes.l, map.features(sizes.d)])
    })

    for (const isCausal of both) {
      const how = isCausal ? 'causal' : 'bidirectional'

      it(`is the reference's, ${how}, in float64 to 1e-10 and in float32 to 1e-5`, async () => {
        const inputs = caseOf(map, 2)
        const want = await expected(name, inputs, { causal: isCausal })
        for (const [given, tolerance] of [
          [inputs, 1e-10],
          [singles(inputs), 1e-5],
        ] as const) {
          const found = await parallel(map, given, isCausal)
          near(found.weights, want.weights, tolerance, 'weights')
          near(found.y, want.y, tolerance, 'parallel')
          near(await direct(map, given, isCausal), want.y, tolerance, 'direct')
        }
      })

      it(`has rows of weights that sum to 1, or to 0 where no key has a feature in common, ${how}`, async () => {
        const { weights } = await parallel(map, caseOf(map, 3), isCausal)
        const [s, data] = [sizes.l, weights!.data]
        for (let row = 0; row < data.length; row += s) {
          const whole = total(data.subarray(row, row + s))
          assert.ok(Math.abs(whole - 1) < 1e-12 || whole === 0, `row ${row / s} sums to ${whole}`)
        }
      })

      it(`does not see anything that stands in padding, ${how}`, async () => {
        const inputs = { ...caseOf(map, 4), keyMask: doubles([2, 7], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]) }
        const want = await expected(name, inputs, { causal: isCausal, keyMask: inputs.keyMask })
        // Ordinary, empty, and so large that a shift taken over padding would wipe out every real feature.
        for (const scale of [1, 0, 300]) {
          const padded = { ...inputs, ...padding(inputs, scale) }
          near((await parallel(map, padded, isCausal)).weights, want.weights, 1e-10, `weights, padding × ${scale}`)
          for (const chunk of [2, 64]) {
            const y = await direct(map, padded, isCausal, chunk)
            near(y, want.y, 1e-10, `padding × ${scale}`)
            near(await direct(map, singles(padded), isCausal, chunk), want.y, 1e-5, `float32, padding × ${scale}`)
          }
        }
      })
    }

    it('gives the same in chunks of any size, for lengths that these do not divide', async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 13 }), fc.integer({ min: 1, max: 15 }), async (l, chunk) => {
          const inputs = caseOf(map, 31 * l + chunk, { b: 1, h: 2, l, d: 3, e: 2 })
          const { y } = await expected(name, inputs, causal)
          near(await direct(map, inputs, true, chunk), y, 1e-10, 'float64')
          near(await direct(map, singles(inputs), true, chunk), y, 1e-5, 'float32')
        }),
        { numRuns: 8, seed: 5 },
      )
    })

    it('gives the same in more chunks than are added up at once', async () => {
      if (map.positions && map.positions < 70) return
      const inputs = caseOf(map, 15, { b: 1, h: 2, l: 70, d: 3, e: 2 })
      const { y } = await expected(name, inputs, causal)
      near(await direct(map, inputs, true, 1), y, 1e-10, 'float64')
      near(await direct(map, singles(inputs), true, 1), y, 1e-5, 'float32')
    })

    it('gives the same one position at a time', async () => {
      const inputs = caseOf(map, 6)
      const { y } = await expected(name, inputs, causal)
      const ones = Array<number>(sizes.l).fill(1)
      near(await stepwise(map, inputs, ones), y, 1e-10, 'float64')
      near(await stepwise(map, singles(inputs), ones), y, 1e-5, 'float32')
    })

    it('gives the same however a text is split into parts and these into chunks', async () => {
      const lengths = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })
      await fc.assert(
        fc.asyncProperty(lengths, fc.integer({ min: 1, max: 4 }), async (parts, chunk) => {
          const l = parts.reduce((a, b) => a + b)
          const inputs = caseOf(map, 17 * l + chunk, { b: 2, h: 1, l, d: 3, e: 2 })
          const { y } = await expected(name, inputs, causal)
          near(await stepwise(map, inputs, parts, chunk), y, 1e-10, 'float64')
          near(await stepwise(map, singles(inputs), parts, chunk), y, 1e-5, 'float32')
        }),
        { numRuns: 6, seed: 7 },
      )
    })

    it('never lets a later position change an earlier output', async () => {
      const inputs = caseOf(map, 8)
      const rng = random(9)
      const from = 3
      const later = (x: NDArray) => join([cut(x, 2, 0, from), normals(rng, x.shape.with(2, x.shape[2]! - from), 3)], 2)
      const changed = { ...inputs, k: later(inputs.k!), v: later(inputs.v!) }
      for (const chunk of [2, 64]) {
        const [before, after] = [await direct(map, inputs, true, chunk), await direct(map, changed, true, chunk)]
        near(cut(after, 2, 0, from), cut(before, 2, 0, from), 1e-10)
      }
    })

    it('keeps earlier outputs in float32 whatever later keys are, in any form', async () => {
      const inputs = caseOf(map, 14)
      // Keys a hundred times as large from the third position on, and larger still at the last.
      const grown = { ...inputs, k: grownFrom(inputs.k!, [1, 1, 100, 100, 100, 100, 200]) }
      const from = 2
      const want = cut((await expected(name, inputs, causal)).y!, 2, 0, from)
      const early = (y: NDArray) => cut(y, 2, 0, from)
      near(early((await parallel(map, singles(grown), true)).y!), want, 1e-5, 'parallel')
      for (const chunk of [1, 2, 64])
        near(early(await direct(map, singles(grown), true, chunk)), want, 1e-5, `chunks of ${chunk}`)
      for (const parts of [[7], [1, 6], [2, 1, 4], [1, 1, 1, 1, 1, 1, 1]]) {
        near(early(await stepwise(map, singles(grown), parts, 2)), want, 1e-5, `parts of ${parts}`)
      }
    })

    it('attends with fewer queries than keys as the last of them', async () => {
      const inputs = caseOf(map, 10, { b: 1, h: 2, l: 3, s: 5, d: 3, e: 2 })
      const want = await expected(name, inputs, causal)
      near((await parallel(map, inputs, true)).weights, want.weights, 1e-10)
    })

    it('stays finite in float32 for inputs sixty times as large', async () => {
      const inputs = singles(caseOf(map, 11, sizes, 60))
      for (const isCausal of both) {
        const { weights, y } = await parallel(map, inputs, isCausal)
        for (const array of [weights!, y!, await direct(map, inputs, isCausal, 2)]) {
          assert.ok(array.data.every(Number.isFinite))
        }
      }
      assert.ok((await stepwise(map, inputs, [1, 2, 1, 3])).data.every(Number.isFinite))
    })
  })
}

/** (b h s d) with the row of each position multiplied by its factor. */
function grownFrom(x: NDArray, factors: readonly number[]): NDArray {
  const [, , s, d] = x.shape as [number, number, number, number]
  return doubles(
    x.shape,
    Float64Array.from(x.data, (value, i) => value * factors[Math.floor(i / d) % s]!),
  )
}

/** k and v with other things where the keys of the second batch entry are padding. */
function padding(inputs: Arrays, scale: number): { k: NDArray; v: NDArray } {
  const rng = random(12)
  const put = (x: NDArray) => {
    const row = x.data.length / 2
    const start = row
    const inner = x.shape[3]!
    const data = Float64Array.from(x.data, (value, i) => {
      const position = Math.floor(i / inner) % x.shape[2]!
      return i >= start && position >= 4 ? scale * rng.normal() : value
    })
    return doubles(x.shape, data)
  }
  return { k: put(inputs.k!), v: put(inputs.v!) }
}

describe('linearAttention', () => {
  it('says so when causal attention has not as many keys as queries', async () => {
    const [, map] = maps[0]!
    const inputs = caseOf(map, 13, { b: 1, h: 2, l: 3, s: 5, d: 3, e: 2 })
    await assert.rejects(direct(map, inputs, true), { name: 'RangeError', message: /linearAttention: k/ })
  })
})
