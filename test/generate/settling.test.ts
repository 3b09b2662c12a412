import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import fc from 'fast-check'
import { type AttentionPlan, planNamed } from '../../src/attention/plan.ts'
import { ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createForward } from '../../src/execute/forward.ts'
import { identityOf } from '../../src/generate/fingerprint.ts'
import { createGenerator, type State, stateBytes } from '../../src/generate/state.ts'
import { loadState, saveState } from '../../src/generate/stateFile.ts'
import { newModel } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { device, near } from '../tensors.ts'

const [vocab, maxLength] = [23, 90]
const folder = await mkdtemp(join(tmpdir(), 'hedgehog-settling-'))
after(() => rm(folder, { recursive: true }))

function prepared(attention: AttentionPlan) {
  const model = newModel(gpt2.configOf({ layers: 2, heads: 2, width: 10, vocab, maxLength, attention }), random(1))
  for (const [path, { data }] of Object.entries(model.params)) {
    if (/weight$/.test(path) && !/ln|feature/.test(path)) for (let i = 0; i < data.length; i++) data[i]! *= 8
  }
  const generator = createGenerator(device, model, { wholeAfter: 3 })
  const forward = createForward(device, model.config)
  after(() => Promise.all([generator.dispose(), forward.dispose()]))
  const textOf = (seed: number) => Array.from({ length: 70 }, (_, i) => (i * (3 + 2 * seed) + seed) % vocab)

  /** Reads up to a position: some at once, the others one at a time. */
  const readOn = async (state: State, ids: readonly number[], end: number, atOnce = 0): Promise<State> => {
    let now = state
    const start = now.positions[0]!
    if (atOnce > 0) {
      ;({ state: now } = await generator.advance(now, ints([1, atOnce], ids.slice(start, start + atOnce))))
    }
    for (let n = start + atOnce; n < end; n++) {
      ;({ state: now } = await generator.advance(now, ints([1, 1], [ids[n]!])))
    }
    return now
  }
  /** Fails unless the next logits of each sequence are those of one pass over its text. */
  const check = async (state: State, texts: readonly (readonly number[])[], what: string) => {
    const { positions } = state
    const next = positions.map((position, row) => texts[row]![position]!)
    const { logits } = await generator.advance(state, ints([texts.length, 1], next))
    for (const [row, text] of texts.entries()) {
      const length = positions[row]! + 1
      const ids = ints([1, length], text.slice(0, length))
      const whole = await forward.logits(model.params, await forward.hidden(model.params, { ids }))
      const got = logits.data.subarray(row * vocab, (row + 1) * vocab)
      near(
        { dtype: 'float32', shape: [vocab], data: got },
        { data: whole.data.subarray((length - 1) * vocab) },
        1e-5,
        `${what}, sequence ${row} after ${length}`,
      )
    }
  }
  return { model, generator, textOf, readOn, check }
}

const count = fc.nat(20)

const hybrids = ['hybrid:8:3/hedgehog-exp', 'hybrid:20/hedgehog-softmax', 'hybrid:3:1/cosformer:90']

for (const name of ['hedgehog-exp', 'hedgehog-softmax', 'taylor', 'cosformer:90', ...hybrids]) {
  describe(`states with positions that wait, of ${name}`, () => {
    const { model, generator, textOf, readOn, check } = prepared(planNamed(name))
    const begin = (seed: number, atOnce: number, singly: number) =>
      readOn(generator.start(), textOf(seed), atOnce + singly, atOnce)

    it('are joined, read on together and taken apart again, wherever each of them is', async () => {
      const rows = fc.array(fc.tuple(count, count), { minLength: 1, maxLength: 3 })
      await fc.assert(
        fc.asyncProperty(rows, fc.nat(18), async (wanted, together) => {
          const states = await Promise.all(wanted.map(([atOnce, singly], seed) => begin(seed, atOnce, singly)))
          let state = generator.join(states)
          for (let n = 0; n < together; n++) {
            const ids = state.positions.map((position, seed) => textOf(seed)[position]!)
            ;({ state } = await generator.advance(state, ints([wanted.length, 1], ids)))
          }
          const texts = wanted.map((_, seed) => textOf(seed))
          await check(generator.fork(state), texts, 'together')
          for (const [row, one] of generator.split(state).entries()) await check(one, [texts[row]!], 'apart')
        }),
        { numRuns: 6 },
      )
    })

    it('go on from forks without a trace of each other, also when all that waits is taken in', async () => {
      await fc.assert(
        fc.asyncProperty(count, count, count, fc.nat(3), async (atOnce, singly, further, more) => {
          const state = await begin(0, atOnce, singly)
          const read = atOnce + singly
          const textFrom = (seed: number) => [...textOf(0).slice(0, read), ...textOf(seed).slice(read)]
          const first = await readOn(generator.fork(state), textFrom(1), read + further)
          const second = await readOn(generator.fork(state), textFrom(2), read + more, more)
          const third = await readOn(generator.fork(state), textFrom(0), read + further)
          await check(first, [textFrom(1)], 'first fork')
          await check(second, [textFrom(2)], 'second fork')
          await check(third, [textOf(0)], 'third fork')
          await check(state, [textOf(0)], 'original')
        }),
        // Forks of a text that does not have all of its sinks yet, and of one that has read nothing.
        {
          numRuns: 6,
          examples: [
            [0, 1, 9, 2],
            [1, 0, 9, 0],
            [0, 0, 9, 0],
          ],
        },
      )
    })

    it('go on after they are saved and loaded as they would have without', async () => {
      const identity = await identityOf(model, { json: {} })
      const state = await begin(0, 9, 21)
      await saveState(folderSink(folder), 'state', state, identity)
      const loaded = await loadState(folderSource(folder), 'state', generator, identity)
      const next = ints([1, 1], [4])
      const { logits } = await generator.advance(loaded.state, next)
      assert.deepEqual(logits, (await generator.advance(state, next)).logits)
    })
  })
}

it('a fork shares what is only read, and what waits is no part of the size of a state', async () => {
  const { generator, readOn, textOf } = prepared(planNamed('hedgehog-exp'))
  const state = await readOn(generator.start(), textOf(0), 5)
  const fork = generator.fork(state)
  for (const [layer, kept] of state.layers.entries()) {
    const own = fork.layers[layer]!
    assert.equal(own.sums, kept.sums)
    assert.notEqual(own.pendingKeys!.data, kept.pendingKeys!.data)
  }
  assert.equal(stateBytes(state), stateBytes(generator.start()))
})
