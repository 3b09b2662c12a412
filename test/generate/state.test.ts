import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { type AttentionPlan, planNamed } from '../../src/attention/plan.ts'
import { ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createForward } from '../../src/execute/forward.ts'
import { generate } from '../../src/generate/generate.ts'
import { likeliest, logSum } from '../../src/generate/sample.ts'
import { createGenerator, type Generator, type State, stateBytes } from '../../src/generate/state.ts'
import { familyOf, newModel, readConfig } from '../../src/models/families.ts'
import type { Model } from '../../src/models/model.ts'
import { openDevice } from '../../src/node/device.ts'
import { mapNames, otherKinds } from '../attention/examples.ts'

const device = await openDevice('cpu', { threads: 1 })
const [layers, heads, width, vocab, maxLength] = [2, 3, 12, 29, 80]
const softmax: AttentionPlan = { kind: 'softmax' }
const plans: Readonly<Record<string, readonly AttentionPlan[]>> = {
  softmax: [softmax, softmax],
  mixed: [softmax, { kind: 'linear', map: 'hedgehog-exp' }],
  ...Object.fromEntries(
    [...mapNames, ...otherKinds.filter((name) => !/cosformer|none|^softmax/.test(name))].map((name) => [
      name,
      Array<AttentionPlan>(layers).fill(planNamed(name)),
    ]),
  ),
}

function modelOf(attention: readonly AttentionPlan[], seed = 1): Model {
  const plain = familyOf({ family: 'gpt2' }).configOf({ layers, heads, width, vocab, maxLength })
  const model = newModel(
    readConfig({ ...plain.json, model_type: 'hedgehog_gpt2', hedgehog: { attention } }),
    random(seed),
  )
  // Larger weights than initial ones, so that attention matters; the maps' would leave the range of float32 in one pass.
  for (const [path, { data }] of Object.entries(model.params)) {
    if (/^h.*(c_attn|c_proj|c_fc).weight$/.test(path)) for (let i = 0; i < data.length; i++) data[i]! *= 8
  }
  return model
}

function idsOf(length: number, seed = 2): number[] {
  const rng = random(seed)
  return Array.from({ length }, () => rng.integer(vocab))
}

const row = (ids: readonly number[]) => ints([1, ids.length], ids)

/** Reads ids in parts of the given lengths, and gives the logits after each part. */
async function readIn(generator: Generator, ids: readonly number[], parts: readonly number[]) {
  let state = generator.start()
  const logits: Float32Array[] = []
  for (const length of parts) {
    const start = state.positions[0]!
    const next = await generator.advance(state, row(ids.slice(start, start + length)))
    state = next.state
    logits.push(next.logits.data)
  }
  return { state, logits }
}

const splits = [[71], Array<number>(71).fill(1), [1, 70], [64, 7], [33, 1, 1, 29, 7], [5, 66]]

for (const [name, plan] of Object.entries(plans)) {
  describe(`generation with ${name}`, () => {
    const model = modelOf(plan)
    // Early enough that each test below reads on block by block, and then as one graph.
    const generator = createGenerator(device, model, { wholeAfter: 1 })
    const forward = createForward(device, model.config)
    after(() => Promise.all([generator.dispose(), forward.dispose()]))

    it('gives the logits of one pass over the text, however the text is split', async () => {
      const ids = idsOf(71)
      const whole = await forward.logits(model.params, await forward.hidden(model.params, { ids: row(ids) }))
      for (const parts of splits) {
        const { logits } = await readIn(generator, ids, parts)
        let end = 0
        for (const [i, length] of parts.entries()) {
          end += length
          close(logits[i]!, whole.data.subarray((end - 1) * vocab, end * vocab), 1e-5, `after ${end} of ${parts}`)
        }
      }
    })

    it('writes the same tokens as a model that reads the whole text again for each', async () => {
      const prompt = idsOf(6, 3)
      const written: number[] = []
      for await (const { id } of generate(generator, prompt, { temperature: 0, maxTokens: 20 })) written.push(id)
      const text = [...prompt]
      for (let i = 0; i < 20; i++) {
        const logits = await forward.logits(model.params, await forward.hidden(model.params, { ids: row(text) }))
        text.push(likeliest(logits.data.subarray((text.length - 1) * vocab)))
      }
      assert.deepEqual(written, text.slice(6))
      assert.ok(new Set(written).size > 1)
    })

    it('goes on from a fork as if nothing had been read after it', async () => {
      const { state } = await readIn(generator, idsOf(9), [9])
      const fork = generator.fork(state)
      await generator.advance(state, row([1, 2, 3]))
      const forked = await generator.advance(fork, row([4]))
      const again = await readIn(generator, [...idsOf(9), 4], [9, 1])
      assert.deepEqual(forked.logits.data, again.logits[1])
    })

    it('reads two texts side by side as it reads each alone', async () => {
      const texts = [idsOf(40, 5), idsOf(40, 6)]
      let state = generator.start(2)
      const cut = (start: number, end: number) =>
        ints(
          [2, end - start],
          texts.flatMap((ids) => ids.slice(start, end)),
        )
      ;({ state } = await generator.advance(state, cut(0, 35)))
      for (let i = 35; i < 39; i++) ({ state } = await generator.advance(state, cut(i, i + 1)))
      const { logits } = await generator.advance(state, cut(39, 40))
      for (const [i, ids] of texts.entries()) {
        const alone = await readIn(generator, ids, [40])
        close(logits.data.subarray(i * vocab, (i + 1) * vocab), alone.logits[0]!, 1e-5)
      }
    })

    it('reads texts of unequal length side by side as it reads each alone, and takes them apart again', async () => {
      const texts = [idsOf(40, 5), idsOf(21, 6), idsOf(34, 7)]
      const read = await Promise.all(texts.map((ids) => readIn(generator, ids.slice(0, -7), [ids.length - 7])))
      let state = generator.join(read.map((one) => one.state))
      for (const length of [1, 4, 1]) {
        const next = state.positions.flatMap((position, i) => texts[i]!.slice(position, position + length))
        ;({ state } = await generator.advance(state, ints([3, length], next)))
      }
      assert.deepEqual(state.positions, [39, 20, 33])
      const alone = await Promise.all(texts.map((ids) => readIn(generator, ids, [ids.length])))
      const last = ints(
        [3, 1],
        texts.map((ids) => ids.at(-1)!),
      )
      const whole = await generator.advance(generator.fork(state), last)
      for (const [i, part] of generator.split(state).entries()) {
        const { logits } = await generator.advance(part, row(texts[i]!.slice(-1)))
        close(logits.data, alone[i]!.logits[0]!, 1e-5, `row ${i}`)
        close(whole.logits.data.subarray(i * vocab, (i + 1) * vocab), alone[i]!.logits[0]!, 1e-5, `row ${i} of 3`)
      }
    })

    it('gives the logits after every token where asked for, and ln Σ exp of each', async () => {
      const texts = [idsOf(13, 5), idsOf(13, 6)]
      const { logits, logSums } = await generator.advance(generator.start(2), ints([2, 13], texts.flat()), {
        logits: 'all',
      })
      assert.deepEqual(logits.shape, [26, vocab])
      for (const [i, ids] of texts.entries()) {
        const { logits: alone } = await readIn(generator, ids, Array(13).fill(1))
        for (const [n, want] of alone.entries()) {
          const at = i * 13 + n
          const got = logits.data.subarray(at * vocab, (at + 1) * vocab)
          close(got, want, 1e-5, `token ${n} of text ${i}`)
          close([logSums[at]!], [logSum(got)], 1e-6)
        }
      }
    })

    it('refuses a state that is used up', async () => {
      const state = generator.start()
      await generator.advance(state, row([1]))
      await assert.rejects(() => generator.advance(state, row([1])), /advance: this state is used up/)
      assert.throws(() => generator.fork(state), /fork: this state is used up/)
    })

    it('leaves a state as it was when tokens do not fit', async () => {
      const { state } = await readIn(generator, idsOf(9), [9])
      await assert.rejects(
        () => generator.advance(state, row(idsOf(72))),
        /72 tokens after 9, want at most 80 positions/,
      )
      await assert.rejects(() => generator.advance(state, row([1, vocab])), /got token 29, want 0 to 28/)
      await assert.rejects(
        () => generator.advance(state, ints([2, 1], [1, 2])),
        /ids of shape \[2,1\], want \[1, at least 1\]/,
      )
      const { logits } = await generator.advance(state, row([4]))
      assert.deepEqual(logits.data, (await readIn(generator, [...idsOf(9), 4], [9, 1])).logits[1])
    })
  })
}

describe('a step of the whole model as one graph', () => {
  const families = {
    'gpt2 with hedgehog-exp': modelOf(plans['hedgehog-exp']!),
    'gpt2 with softmax': modelOf(plans.softmax!),
    llama: llamaOf(planNamed('hedgehog-softmax')),
    'llama with softmax': llamaOf(softmax),
  }
  for (const [name, model] of Object.entries(families)) {
    it(`gives what block by block gives, for one text and several, with and without copies: ${name}`, async () => {
      const kinds = [{ wholeAfter: Infinity, copies: false }, { wholeAfter: 0 }, { wholeAfter: 0, copies: false }]
      const generators = kinds.map((options) => createGenerator(device, model, options))
      for (const batch of [1, 3, 2]) {
        const found = await Promise.all(generators.map((generator) => logitsOf(generator, batch)))
        for (const logits of found.slice(1)) close(logits, found[0]!, 1e-5, `${batch} texts`)
      }
      for (const generator of generators) await generator.dispose()
    })
  }

  it('is opened again when so many other shapes came between that it was closed', async () => {
    const model = modelOf(plans['hedgehog-exp']!)
    const generator = createGenerator(device, model, { wholeAfter: 0 })
    const first = await logitsOf(generator, 1)
    for (let batch = 2; batch <= 9; batch++) await logitsOf(generator, batch)
    assert.deepEqual(await logitsOf(generator, 1), first)
    await generator.dispose()
  })

  it('sees parameters change where it made no copies', async () => {
    const model = modelOf(plans.softmax!)
    const generator = createGenerator(device, model, { wholeAfter: 0, copies: false })
    const before = await logitsOf(generator, 1)
    model.params['h.0.mlp.c_fc.weight']!.data.fill(0)
    assert.notDeepEqual(await logitsOf(generator, 1), before)
    await generator.dispose()
  })

  /** Logits after texts of unequal length, and then several single tokens of each. */
  async function logitsOf(generator: Generator, batch: number): Promise<number[]> {
    const texts = Array.from({ length: batch }, (_, i) => idsOf(3 + 4 * i, i))
    const read = await Promise.all(texts.map((ids) => generator.advance(generator.start(), row(ids))))
    let state = generator.join(read.map((one) => one.state))
    const all: number[] = []
    for (const id of [5, 0, 17]) {
      const next = await generator.advance(state, ints([batch, 1], Array(batch).fill(id)))
      state = next.state
      all.push(...next.logits.data, ...next.logSums)
    }
    return all
  }

  function llamaOf(attention: AttentionPlan): Model {
    const sizes = { layers: 2, heads: 6, keyHeads: 3, width: 24, vocab, maxLength, attention }
    const model = newModel(familyOf({ family: 'llama' }).configOf(sizes), random(4))
    for (const { data, shape } of Object.values(model.params)) {
      if (shape.length === 2) for (let i = 0; i < data.length; i++) data[i]! *= 8
    }
    return model
  }
})

describe('the size of a state', () => {
  const sizes = async (plan: readonly AttentionPlan[]) => {
    const generator = createGenerator(device, modelOf(plan))
    const states: State[] = [generator.start()]
    for (const length of [1, 31, 32]) {
      states.push((await generator.advance(generator.fork(states.at(-1)!), row(idsOf(length)))).state)
    }
    await generator.dispose()
    return states.map(stateBytes)
  }

  it('is constant for linear attention: features times values and the denominator, and a shift', async () => {
    const d = width / heads
    const bytes = 4 * layers * heads * (2 * d * (d + 1) + 1)
    assert.deepEqual(await sizes(plans['hedgehog-exp']!), Array(4).fill(bytes))
  })

  it('grows in powers of two for softmax attention', async () => {
    const perPosition = 4 * layers * 2 * width
    assert.deepEqual(
      (await sizes(plans.softmax!)).map((bytes) => bytes / perPosition),
      [32, 32, 32, 64],
    )
  })
})

function close(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number, what = ''): void {
  assert.equal(got.length, want.length)
  for (let i = 0; i < got.length; i++) {
    const far = Math.abs(got[i]! - want[i]!)
    assert.ok(far <= tolerance * (1 + Math.abs(want[i]!)), `${what}[${i}]: ${got[i]}, want ${want[i]}`)
  }
}
