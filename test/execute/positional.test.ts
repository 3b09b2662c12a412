/** A toy family that adds an array of positions to queries and keys, wherever a block is run. */

import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import type { Attend } from '../../src/attention/heads.ts'
import { floats, ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createDistillation } from '../../src/convert/distill.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { sharedInputs } from '../../src/execute/blocks.ts'
import { createForward } from '../../src/execute/forward.ts'
import { createGenerator } from '../../src/generate/state.ts'
import { add } from '../../src/graph/ops.ts'
import type { Tensor } from '../../src/graph/tensor.ts'
import { families } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import type { Family } from '../../src/models/model.ts'
import { cut, device, near } from '../tensors.ts'
import { counted, noisyModel, tinyBatch, zerosLike } from './tiny.ts'

const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})
function open<T extends { dispose(): Promise<void> }>(one: T): T {
  opened.push(one)
  return one
}

let computed = 0
const toy: Family = {
  ...gpt2,
  readConfig: (json) => ({ ...gpt2.readConfig(json), family: 'toy' }),
  positional({ headDim }, start, length) {
    computed += 1
    const value = (i: number) => Math.sin((start + Math.floor(i / headDim)) * (1 + (i % headDim)))
    return {
      wave: floats(
        [length, headDim],
        Float32Array.from({ length: length * headDim }, (_, i) => value(i)),
      ),
    }
  },
  block(config, params, x, context) {
    const moved = (heads: Tensor) => add(heads, context.positional.wave!)
    const attend: Attend = ({ q, k, v }) => context.attend({ q: moved(q), k: moved(k), v })
    return gpt2.block(config, params, x, { ...context, attend })
  },
}
const table = families as Record<string, Family>
table.toy = toy
after(() => delete table.toy)

const plain = noisyModel(gpt2.configOf({ layers: 2, heads: 2, width: 6, vocab: 11, maxLength: 12 }))
const model = { config: { ...plain.config, family: 'toy' }, params: plain.params }
const { ids, labels } = tinyBatch(2, 9)

describe('arrays of positions', () => {
  it('reach every block forward and in a training step, with one loss', async () => {
    const forward = open(createForward(device, model.config))
    const h = await forward.hidden(model.params, { ids })
    const losses = await forward.losses(model.params, h, labels)
    const weight = 1 / counted({ labels })
    const want = losses.reduce((sum, loss) => sum + weight * loss, 0)
    const backward = open(createBackward(device, model.config))
    const how = { tokenWeight: weight, fresh: true }
    const loss = await backward.accumulate(model.params, zerosLike(model.params), { ids, labels }, how)
    assert.ok(Math.abs(loss - want) < 1e-5)
    const without = open(createForward(device, plain.config))
    const other = await without.losses(plain.params, await without.hidden(plain.params, { ids }), labels)
    assert.ok(Math.abs(other.reduce((sum, one) => sum + weight * one, 0) - want) > 1e-3)
  })

  it('go on from the position that a generator stands at', async () => {
    const forward = open(createForward(device, model.config))
    const row = cut(ids, 0, 0, 1)
    const whole = await forward.logits(model.params, await forward.hidden(model.params, { ids: row }))
    const generator = open(createGenerator(device, model))
    let { state } = await generator.advance(generator.start(), cut(row, 1, 0, 5))
    for (const at of [5, 6, 7, 8]) {
      const next = await generator.advance(state, cut(row, 1, at, at + 1))
      near(next.logits, cut(whole, 0, at, at + 1), 1e-5)
      state = next.state
    }
  })

  it('are those of each sequence where a generator joins several', async () => {
    const generator = open(createGenerator(device, model))
    const parts = [cut(cut(ids, 0, 0, 1), 1, 0, 5), cut(cut(ids, 0, 1, 2), 1, 0, 3)] as const
    const next = [cut(cut(ids, 0, 0, 1), 1, 5, 6), cut(cut(ids, 0, 1, 2), 1, 3, 4)] as const
    const read = async () => {
      const states = []
      for (const part of parts) states.push((await generator.advance(generator.start(), part)).state)
      return states
    }
    const alone = []
    for (const [i, state] of (await read()).entries()) alone.push((await generator.advance(state, next[i]!)).logits)
    const both = ints([2, 1], [next[0].data[0]!, next[1].data[0]!])
    const { logits } = await generator.advance(generator.join(await read()), both)
    for (const row of [0, 1]) near(cut(logits, 0, row, row + 1), alone[row], 1e-5)
  })

  it('are what a distilled layer sees too', async () => {
    const measured = async (teacher: typeof model) => {
      const student = linearize(teacher, 'hedgehog-exp', random(1))
      return open(createDistillation(device, student.config)).measure(student.params, [{ ids, labels }])
    }
    const [moved, still] = [await measured(model), await measured(plain)]
    for (const [layer, loss] of moved.entries()) assert.ok(Math.abs(loss - still[layer]!) > 1e-4)
  })

  it('are computed once per start and length, and the oldest are given up', () => {
    const shared = sharedInputs(model.config)
    computed = 0
    const first = shared({ ids })['pos.wave']
    assert.equal(shared({ ids })['pos.wave'], first)
    assert.equal(computed, 1)
    for (let start = 1; start < 20; start++) shared({ ids: ints([1, 1]) }, start)
    assert.equal(computed, 20)
    assert.notEqual(shared({ ids })['pos.wave'], first)
  })
})
