import assert from 'node:assert/strict'
import { test } from 'node:test'
import { floats } from '../../src/base/array.ts'
import { type MapDialect, mapDialects, mapsFrom, mapsTo } from '../../src/io/mapNames.ts'

const at = 'model.layers.3.self_attn.'

test("LoLCATs' maps are ours, head by head, and its window factors are gates", () => {
  const layer = floats(
    [2, 3, 5],
    Array.from({ length: 30 }, (_, i) => i),
  )
  const theirs = { [`${at}feature_map_q.mlp.layer`]: layer, [`${at}window_factors`]: floats([1, 2, 1, 1], [7, 8]) }
  const ours = mapsFrom('lolcats', theirs)
  assert.deepEqual(ours, { [`${at}feature_map_q.weight`]: layer, [`${at}window_gate`]: floats([2], [7, 8]) })
})

test("fla's linear layer y = W x + b is transposed, its bias a row", () => {
  const theirs = {
    'attn.feature_map_k.layer.weight': floats([2, 3], [1, 2, 3, 4, 5, 6]),
    'attn.feature_map_k.layer.bias': floats([2], [7, 8]),
  }
  assert.deepEqual(mapsFrom('fla', theirs), {
    'attn.feature_map_k.weight': floats([3, 2], [1, 4, 2, 5, 3, 6]),
    'attn.feature_map_k.bias': floats([1, 2], [7, 8]),
  })
})

test('there and back is where it began, for every name of every program', () => {
  for (const dialect of Object.keys(mapDialects) as MapDialect[]) {
    for (const { ours } of mapDialects[dialect]) {
      const shapes: Readonly<Record<string, readonly number[]>> = { weight: [4, 5], bias: [1, 5], window_gate: [3] }
      const shape = shapes[ours.split('.').at(-1)!]!
      const params = {
        [`${at}${ours}`]: floats(
          shape,
          Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i),
        ),
      }
      const theirs = mapsTo(dialect, params)
      assert.notDeepEqual(Object.keys(theirs), Object.keys(params), `${dialect} ${ours}`)
      assert.deepEqual(mapsFrom(dialect, theirs), params)
    }
  }
})

test('other parameters are left alone, also those whose names end alike', () => {
  const params = { 'h.0.ln_1.weight': floats([2]), 'not_feature_map_q.weight': floats([1]), x_window_gate: floats([1]) }
  for (const dialect of ['lolcats', 'fla'] as const) {
    assert.deepEqual(mapsTo(dialect, params), params)
    assert.deepEqual(mapsFrom(dialect, params), params)
  }
})
