import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Kept } from '../../src/attention/memory.ts'
import { attentionOf } from '../../src/attention/plan.ts'
import { floats } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { familyOf } from '../../src/models/families.ts'
import { below, prefixed } from '../../src/nn/params.ts'
import { openDevice } from '../../src/node/device.ts'
import { compile } from '../../src/runtime/compile.ts'
import { attend, featureMaps, linearWeights } from '../reference.ts'

it('keys whose exponentials leave the range of float32 are weighed as in float64, one position at a time', async () => {
  const [d, length] = [5, 14]
  const { configOf } = familyOf({ family: 'gpt2' })
  const config = configOf({ layers: 1, heads: 1, width: d, vocab: 2, maxLength: 20 })
  const memory = attentionOf({ kind: 'linear', map: 'hedgehog-exp' }).memory(config)
  const step = compile(await openDevice('cpu', { threads: 1 }), (inputs) => {
    const heads = { q: inputs.q!, k: inputs.k!, v: inputs.v! }
    const { y, next } = memory.attend(below('past.', inputs), below('p.', inputs), heads)
    return { y, ...prefixed('next.', next) }
  })
  const identity = floats(
    [1, d, d],
    Float32Array.from({ length: d * d }, (_, i) => (i % (d + 1) ? 0 : 1)),
  )
  const weights = { 'p.feature_map_q.weight': identity, 'p.feature_map_k.weight': identity }

  const rng = random(1)
  const rows = (scale: (n: number) => number) =>
    Array.from({ length }, (_, n) => Array.from({ length: d }, () => Math.fround(scale(n) * rng.normal())))
  // Keys that grow to over a hundred, and then are small again.
  const [q, k, v] = [rows(() => 1), rows((n) => (n < 8 ? 2 ** n : 1)), rows(() => 1)]
  assert.ok(Math.max(...k.flat()) > 100)

  let kept = memory.empty(1)
  const got: number[][] = []
  for (let n = 0; n < length; n++) {
    const position = (row: readonly number[]) => floats([1, 1, 1, d], row)
    const inputs = { q: position(q[n]!), k: position(k[n]!), v: position(v[n]!) }
    const { y, ...rest } = (await step({
      ...inputs,
      ...weights,
      ...prefixed('past.', memory.past(kept, n, 1)),
    })) as Kept
    kept = memory.keep(kept, below('next.', rest), n)
    got.push([...y!.data])
  }
  const want = attend(linearWeights(q.map(featureMaps.exp), k.map(featureMaps.exp), { causal: true }), v)
  for (const [n, row] of want.entries()) {
    for (const [i, value] of row.entries())
      assert.ok(Math.abs(got[n]![i]! - value) < 1e-4, `${n}: ${got[n]}, want ${row}`)
  }
  await step.dispose()
})
