import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import { type GenerateOptions, generate } from '../../src/generate/generate.ts'
import { createGenerator } from '../../src/generate/state.ts'
import { familyOf, newModel } from '../../src/models/families.ts'
import { openDevice } from '../../src/node/device.ts'

const config = familyOf({ family: 'gpt2' }).configOf({
  layers: 1,
  heads: 2,
  width: 10,
  vocab: 23,
  maxLength: 30,
  attention: { kind: 'linear', map: 'hedgehog-softmax' },
})
const generator = createGenerator(await openDevice('cpu', { threads: 1 }), newModel(config, random(1)))
after(() => generator.dispose())

async function written(options: GenerateOptions, prompt: readonly number[] = [1, 2, 3]): Promise<number[]> {
  const ids: number[] = []
  for await (const { id } of generate(generator, prompt, options)) ids.push(id)
  return ids
}

describe('generate', () => {
  it('writes the same tokens for the same seed, and as many as asked for', async () => {
    const once = await written({ random: random(5), maxTokens: 20 })
    assert.equal(once.length, 20)
    assert.deepEqual(await written({ random: random(5), maxTokens: 20 }), once)
    assert.notDeepEqual(await written({ random: random(6), maxTokens: 20 }), once)
    assert.deepEqual(await written({ random: random(5), maxTokens: 0 }), [])
  })

  it('ends before a stop token', async () => {
    const all = await written({ random: random(5), maxTokens: 20 })
    const stop = all[7]!
    const want = all.slice(0, all.indexOf(stop))
    assert.deepEqual(await written({ random: random(5), maxTokens: 20, stop: [stop] }), want)
  })

  it('gives log probabilities of the model itself, whatever the filters', async () => {
    const sampled = generate(generator, [1, 2], { random: random(5), maxTokens: 1, topK: 1, temperature: 0.1 })
    const { value } = await sampled.next()
    assert.ok(value && 'id' in value && value.logProbability < -1 && value.logProbability > -23)
  })

  it('gives as many of the likeliest tokens beside each as it is asked for, and none of them likelier', async () => {
    for await (const { alternatives, logProbability } of generate(generator, [1, 2], {
      random: random(5),
      maxTokens: 4,
      alternatives: 3,
    })) {
      const values = alternatives!.map((token) => token.logProbability)
      assert.equal(values.length, 3)
      assert.deepEqual(
        values,
        values.toSorted((a, b) => b - a),
      )
      assert.ok(values[0]! >= logProbability)
    }
  })

  it('goes on from the state of a text as it would from the text', async () => {
    const run = generate(generator, [1, 2, 3], { temperature: 0, maxTokens: 5 })
    const ids: number[] = []
    let next = await run.next()
    for (; !next.done; next = await run.next()) ids.push(next.value.id)
    const state = next.value
    assert.deepEqual(state.positions, [3 + 4])
    const more = await written({ temperature: 0, maxTokens: 6, state }, [ids.at(-1)!])
    assert.deepEqual([...ids, ...more], await written({ temperature: 0, maxTokens: 11 }))
  })

  it('stops when it is told to', async () => {
    const controller = new AbortController()
    const run = generate(generator, [1], { temperature: 0, signal: controller.signal })
    const late = generate(generator, [1], {
      temperature: 0,
      maxTokens: 3,
      signal: AbortSignal.abort(new Error('never')),
    })
    await assert.rejects(() => late.next(), /never/)
    const short = generate(generator, [1], { temperature: 0, maxTokens: 9, signal: controller.signal })
    await short.next()
    controller.abort(new Error('enough'))
    await assert.rejects(() => short.next(), /enough/)
    await run.return(generator.start())
  })

  it('reaches the last position of the model and refuses to go past it before it begins', async () => {
    assert.equal((await written({ temperature: 0, maxTokens: 28 })).length, 28)
    await assert.rejects(() => written({ temperature: 0, maxTokens: 29 }), {
      name: 'RangeError',
      message: /3 tokens of prompt and 29 more need 31 positions, want at most 30/,
    })
  })

  it('refuses an empty prompt, a wrong number of tokens, and draws without a source', async () => {
    await assert.rejects(() => written({ temperature: 0 }, []), /empty prompt/)
    await assert.rejects(() => written({ temperature: 0, maxTokens: -1 }), /maxTokens: got -1/)
    await assert.rejects(() => written({}), /random is missing/)
  })
})
