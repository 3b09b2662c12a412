import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { attentionOf, planNamed } from '../../src/attention/plan.ts'
import { floats, ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { exportedAttention } from '../../src/deploy/attention.ts'
import { below, prefixed } from '../../src/nn/params.ts'
import { compile } from '../../src/runtime/compile.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { cut, device, join, near } from '../tensors.ts'

const [heads, headDim, length] = [1, 4, 9]
const sizes = { heads, headDim }

/** Keys of which the fourth asks for a scale far from that of the others. */
function textWith(outlier: number) {
  const rng = random(3)
  const rows = () =>
    floats(
      [1, heads, length, headDim],
      Float32Array.from({ length: length * headDim }, () => rng.normal()),
    )
  const [q, k, v] = [rows(), rows(), rows()]
  k.data[3 * headDim] = outlier
  return { q, k, v }
}

const identity = floats(
  [1, headDim, headDim],
  Float32Array.from({ length: 16 }, (_, i) => (i % 5 ? 0 : 1)),
)
const params = {
  'p.feature_map_q.weight': identity,
  'p.feature_map_k.weight': identity,
  'p.window_gate': floats([1], [0.3]),
}

describe('the exported hybrid', () => {
  for (const name of ['hybrid:2/hedgehog-exp', 'hybrid:2:1/hedgehog-exp', 'hybrid:2/hedgehog-exp:linear-only']) {
    for (const outlier of [1, 30, 120, -200]) {
      it(`${name} sees what the hybrid does where a key has the number ${outlier}, in one call or several`, async () => {
        const text = textWith(outlier)
        const attention = attentionOf(planNamed(name))
        const parallel = compile(device, ({ q, k, v, ...given }) => ({
          y: attention.attend(below('p.', given), { q: q!, k: k!, v: v! }, { causal: true }),
        }))
        const { y: want } = await parallel({ ...text, ...params })
        const exported = exportedAttention(planNamed(name), sizes, 'decomposed')
        const call = compile(device, ({ q, k, v, positions, state, ...given }) => {
          const own = { past: { state: state! }, params: below('p.', given), positions: positions! }
          const { y, next } = exported.attend({ ...own, heads: { q: q!, k: k!, v: v! } })
          return { y, ...prefixed('next.', next) }
        })
        const [, , rows, width] = exported.kept.state as [string, number, number, number]
        for (const ends of [[length], [1, 4, 5, length]]) {
          let state = floats([1, heads, rows, width])
          const parts = []
          let start = 0
          for (const end of ends) {
            const piece = Object.fromEntries(Object.entries(text).map(([of, x]) => [of, cut(x, 2, start, end)]))
            const at = Int32Array.from({ length: end - start }, (_, i) => start + i)
            const found: Arrays = await call({ ...piece, ...params, state, positions: ints([1, end - start], at) })
            parts.push(found.y!)
            state = found['next.state'] as typeof state
            start = end
          }
          near(join(parts, 2), want, 1e-4, `${ends}`)
        }
        assert.ok(want!.data.every(Number.isFinite))
        await parallel.dispose()
        await call.dispose()
      })
    }
  }
})
