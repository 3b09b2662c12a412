/** Gradients with states between blocks that are kept outside of memory, beside those of a pass that keeps them itself. */

import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { type FloatArray, floats, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { type BackwardOptions, createBackward } from '../../src/execute/backward.ts'
import type { StateStore } from '../../src/execute/states.ts'
import { llama } from '../../src/models/llama.ts'
import { addLora } from '../../src/train/lora.ts'
import { device } from '../tensors.ts'
import { noisyModel, tinyBatch, tinyModel, zerosLike } from './tiny.ts'

const opened: { dispose(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.dispose()
})

/** A store that takes its time, and whose arrays are spoilt as soon as they may be. */
function lent(): StateStore & { readonly asked: (readonly [number, number | undefined])[] } {
  const stored = new Map<number, FloatArray>()
  let out: { readonly layer: number; readonly array: FloatArray }[] = []
  const asked: (readonly [number, number | undefined])[] = []
  const later = () => new Promise((resolve) => setTimeout(resolve, 3))
  return {
    asked,
    async write(layer, { shape, data }) {
      await later()
      stored.set(layer, floats(shape, data.slice()))
    },
    async read(layer, next) {
      asked.push([layer, next])
      for (const one of out) if (one.layer !== layer && one.layer !== next) one.array.data.fill(Number.NaN)
      await later()
      const { shape, data } = stored.get(layer)!
      out = [...out.filter((one) => one.layer === next), { layer, array: floats(shape, data.slice()) }]
      return out.at(-1)!.array
    },
  }
}

const deep = tinyModel({ kind: 'linear', map: 'hedgehog-exp' }, 7)
const adapted = addLora(
  noisyModel(llama.configOf({ layers: 5, heads: 2, width: 8, vocab: 11, maxLength: 12 })),
  { rank: 2, dropout: 0.2 },
  random(3),
)
const only = (params: Params, wanted: RegExp) =>
  Object.fromEntries(Object.entries(params).filter(([path]) => wanted.test(path)))

describe('states between blocks in a store', () => {
  const cases: Readonly<Record<string, readonly [typeof deep, BackwardOptions, RegExp]>> = {
    'of all weights': [deep, {}, /./],
    'with dropout': [deep, { dropout: 0.3 }, /./],
    'of an adapter with dropout': [adapted, {}, /lora_/],
    'of upper layers alone': [deep, {}, /^h\.[456]\./],
  }
  for (const [title, [{ config, params }, options, wanted]] of Object.entries(cases)) {
    it(`give losses and gradients ${title}, to the bit`, async () => {
      const states = lent()
      const [kept, spilled] = [
        { ...options, saved: [] },
        { ...options, states },
      ]
      const [whole, stored] = [createBackward(device, config, kept), createBackward(device, config, spilled)]
      opened.push(whole, stored)
      const [want, got] = [zerosLike(only(params, wanted)), zerosLike(only(params, wanted))]
      const shapes = [
        [2, 9],
        [2, 9],
        [1, 5],
        [2, 9],
      ] as const
      for (const [pass, [b, l]] of shapes.entries()) {
        const batch = tinyBatch(b, l, pass)
        const how = { tokenWeight: 0.1, fresh: pass !== 1 }
        const loss = await whole.accumulate(params, want, batch, { ...how, rng: random(pass) })
        assert.equal(await stored.accumulate(params, got, batch, { ...how, rng: random(pass) }), loss)
        assert.deepEqual(got, want)
      }
      // On the way back each names the one after it.
      const last = config.layers - 1
      assert.deepEqual(states.asked.slice(0, 2), [
        [last, last - 1],
        [last - 1, last - 2],
      ])
    })
  }

  it('leave nothing else of a block to be kept', () => {
    const options = { states: lent(), saved: ['qkv'] }
    assert.throws(() => createBackward(device, deep.config, options), {
      name: 'RangeError',
      message: /^createBackward: got saved values qkv beside a store of states, want none/,
    })
  })

  it('say what the store says when it fails, in this pass and not beside it', async () => {
    const full: StateStore = { ...lent(), write: async () => Promise.reject(new Error('full')) }
    const backward = createBackward(device, deep.config, { states: full })
    opened.push(backward)
    const failing = backward.accumulate(deep.params, zerosLike(deep.params), tinyBatch(2, 9), { tokenWeight: 1 })
    await assert.rejects(failing, /^Error: full$/)
  })
})
