import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import fc from 'fast-check'
import { type AttentionPlan, planNamed } from '../../src/attention/plan.ts'
import { random } from '../../src/base/random.ts'
import { type Batch, type BatchRequest, type BatchToken, createBatch } from '../../src/generate/batch.ts'
import { generate } from '../../src/generate/generate.ts'
import { createPrefixCache } from '../../src/generate/prefixes.ts'
import { createGenerator, type Generator } from '../../src/generate/state.ts'
import { newModel } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { device } from '../tensors.ts'

const [vocab, maxLength] = [23, 90]

function generatorOf(attention: AttentionPlan): Generator {
  const model = newModel(gpt2.configOf({ layers: 2, heads: 2, width: 10, vocab, maxLength, attention }), random(1))
  // Larger weights than initial ones, so that what was read before matters.
  for (const [path, { data }] of Object.entries(model.params)) {
    if (/weight$/.test(path) && !/ln|feature/.test(path)) for (let i = 0; i < data.length; i++) data[i]! *= 8
  }
  const generator = createGenerator(device, model)
  after(() => generator.dispose())
  return generator
}

/** What can be said as plain data, so that a failing case is printed. */
interface Text {
  readonly prompt: readonly number[]
  readonly maxTokens: number
  readonly temperature: number
  readonly seed: number
  readonly stop: readonly number[]
  /** Tokens that the text before it has written when this one comes. */
  readonly after: number
}

const id = fc.integer({ min: 0, max: vocab - 1 })
const texts = fc.array(
  fc.record({
    prompt: fc.oneof(
      fc.array(id, { minLength: 1, maxLength: 45 }),
      fc.integer({ min: 1, max: 45 }).map((length) => Array.from({ length }, (_, i) => i % vocab)),
    ),
    maxTokens: fc.integer({ min: 0, max: 16 }),
    temperature: fc.constantFrom(0, 0.8, 1),
    seed: fc.integer({ min: 0, max: 9 }),
    stop: fc.array(id, { maxLength: 2 }),
    after: fc.integer({ min: 0, max: 6 }),
  }),
  { minLength: 1, maxLength: 6 },
)

const requestOf = ({ seed, after: _, ...rest }: Text): BatchRequest => ({ ...rest, random: random(seed) })

async function alone(generator: Generator, text: Text) {
  const tokens: { id: number; logProbability: number }[] = []
  for await (const token of generate(generator, text.prompt, requestOf(text))) tokens.push(token)
  return tokens
}

async function collect(run: ReturnType<Batch['write']>, onToken = () => {}) {
  const tokens: BatchToken[] = []
  for (;;) {
    const next = await run.next()
    if (next.done) return { tokens, ...next.value }
    tokens.push(next.value)
    onToken()
  }
}

/** Starts each text once the one before it has written so many tokens, or has ended. */
async function writeAll(batch: Batch, wanted: readonly Text[]) {
  const found: Promise<Awaited<ReturnType<typeof collect>>>[] = []
  let before = Promise.resolve()
  for (const text of wanted) {
    await before
    let count = 0
    before = new Promise((resolve) => {
      if (text.after === 0) resolve()
      const run = collect(batch.write(requestOf(text)), () => {
        if (++count === text.after) resolve()
      })
      found.push(run)
      void run.then(() => resolve())
    })
  }
  return Promise.all(found)
}

function same(got: readonly BatchToken[], want: readonly { id: number; logProbability: number }[], what = ''): void {
  assert.deepEqual(
    got.map((token) => token.id),
    want.map((token) => token.id),
    what,
  )
  for (const [i, { logProbability }] of want.entries()) {
    assert.ok(Math.abs(got[i]!.logProbability - logProbability) < 1e-4)
  }
}

for (const name of ['hedgehog-exp', 'cosformer:90', 'hybrid:8', 'hybrid:8:3', 'softmax']) {
  describe(`a batch with ${name}`, () => {
    const generator = generatorOf(planNamed(name))

    it('writes of each text what is written of it alone, whoever comes and goes, whatever is known already', async () => {
      const options = fc.record({ most: fc.constantFrom(2, 64), piece: fc.constantFrom(8, 16) })
      await fc.assert(
        fc.asyncProperty(texts, options, fc.constantFrom(0, 1e4, 1e7), async (wanted, given, bytes) => {
          const batch = createBatch(generator, { ...given, prefixes: createPrefixCache(bytes) })
          const want = await Promise.all(wanted.map((text) => alone(generator, text)))
          for (const round of bytes ? [1, 2] : [1]) {
            for (const [i, { tokens, ending }] of (await writeAll(batch, wanted)).entries()) {
              same(tokens, want[i]!, `text ${i} in round ${round}`)
              assert.equal(ending, tokens.length === wanted[i]!.maxTokens ? 'length' : 'stop')
            }
          }
          const { waiting, reading, writing } = batch.counts()
          assert.deepEqual([waiting, reading, writing], [0, 0, 0])
        }),
        { numRuns: 5 },
      )
    })
  })
}

describe('a batch', () => {
  const generator = generatorOf(planNamed('hedgehog-softmax'))
  const text = (over: Partial<BatchRequest> = {}): BatchRequest => ({
    prompt: [1, 2, 3, 4, 5],
    temperature: 0,
    maxTokens: 20,
    ...over,
  })

  it('gives ln p of each token of the prompt but the first, and the likeliest in its place', async () => {
    const prompt = Array.from({ length: 37 }, (_, i) => (i * i) % vocab)
    const batch = createBatch(generator, { piece: 8, prefixes: createPrefixCache(1e6) })
    for (const maxTokens of [0, 2]) {
      const { tokens } = await collect(batch.write(text({ prompt, maxTokens, scorePrompt: true, alternatives: 3 })))
      const scored = tokens.filter(({ from }) => from === 'prompt')
      assert.deepEqual(
        scored.map((token) => token.id),
        prompt.slice(1),
      )
      assert.equal(tokens.length, 36 + maxTokens)
      for (const [i, { logProbability, alternatives }] of scored.entries()) {
        // As a text that is written would have it: the token is forced by a bias.
        const forced = text({ prompt: prompt.slice(0, i + 1), maxTokens: 1, bias: new Map([[prompt[i + 1]!, 1e4]]) })
        const { tokens: want } = await collect(batch.write({ ...forced, alternatives: 3 }))
        assert.ok(Math.abs(want[0]!.logProbability - logProbability) < 1e-4)
        assert.deepEqual(
          alternatives!.map((token) => token.id),
          want[0]!.alternatives!.map((token) => token.id),
        )
      }
    }
  })

  it('reads a beginning that several prompts share twice, and then never again', async () => {
    const batch = createBatch(generator, { piece: 64, prefixes: createPrefixCache(1e6) })
    const prompts = [1, 2, 3, 4].map((last) => [...Array.from({ length: 50 }, (_, i) => i % vocab), last, last])
    const known: number[] = []
    for (const prompt of prompts) known.push((await collect(batch.write(text({ prompt, maxTokens: 1 })))).known)
    assert.deepEqual(known, [0, 0, 50, 50])
    assert.equal(batch.counts().knownTokens, 100)
    assert.equal(batch.counts().readTokens, 52 + 52 + 2 + 2)
    const answered = await collect(batch.write(text({ prompt: prompts[0]!, maxTokens: 9 })))
    const further = [...prompts[0]!, ...answered.tokens.map((token) => token.id), 7]
    assert.equal((await collect(batch.write(text({ prompt: further, maxTokens: 1 })))).known, 52 + 8)
  })

  it('starves nobody: short texts are written while a long prompt is read', async () => {
    const batch = createBatch(generator, { piece: 4 })
    const order: string[] = []
    const long = collect(batch.write(text({ prompt: Array(80).fill(3), maxTokens: 1 }))).then(() => order.push('long'))
    const short = collect(batch.write(text({ maxTokens: 9 }))).then(() => order.push('short'))
    await Promise.all([long, short])
    assert.deepEqual(order, ['short', 'long'])
  })

  it('has places for so many texts, and a queue for the others', async () => {
    const batch = createBatch(generator, { most: 3 })
    const runs = Array.from({ length: 8 }, () => collect(batch.write(text())))
    assert.equal(batch.counts().waiting + batch.counts().reading, 8)
    let highest = 0
    while (batch.counts().waiting > 0) {
      const { reading, writing } = batch.counts()
      highest = Math.max(highest, reading + writing)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(runs)
    assert.equal(highest, 3)
  })

  it('frees the place of a text that is left or aborted, and tells it why', async () => {
    const batch = createBatch(generator, { most: 2 })
    const controller = new AbortController()
    const aborted = collect(batch.write(text({ signal: controller.signal })), () =>
      controller.abort(new Error('enough')),
    )
    const left = batch.write(text({ maxTokens: 60 }))
    await left.next()
    await left.return({ ending: 'stop', known: 0 })
    await assert.rejects(() => aborted, /enough/)
    assert.equal((await collect(batch.write(text()))).tokens.length, 20)
    assert.deepEqual([batch.counts().reading, batch.counts().writing], [0, 0])
    assert.ok(batch.counts().writtenTokens < 60)
    const late = batch.write(text({ signal: AbortSignal.abort(new Error('never')) }))
    await assert.rejects(() => late.next(), /never/)
  })

  it('refuses at the call what alone is refused', () => {
    const batch = createBatch(generator)
    assert.throws(() => batch.write(text({ prompt: [] })), /batch: got an empty prompt/)
    assert.throws(() => batch.write(text({ prompt: [0, vocab] })), /batch: got token 23, want 0 to 22/)
    assert.throws(() => batch.write(text({ prompt: [0.5] })), /batch: got token 0.5/)
    assert.throws(() => batch.write(text({ maxTokens: 87 })), /5 tokens of prompt and 87 more need 91 positions/)
    assert.throws(() => batch.write({ prompt: [1] }), /batch: random is missing/)
    assert.throws(() => createBatch(generator, { most: 0 }), /most: got 0/)
  })

  it('ends the texts that are hit by a failure of the engine, and goes on with others', async () => {
    let broken = true
    const batch = createBatch({
      ...generator,
      advance: (...given) => (broken ? Promise.reject(new Error('engine broke')) : generator.advance(...given)),
    })
    await assert.rejects(() => collect(batch.write(text())), /engine broke/)
    await assert.rejects(() => collect(batch.write(text({ prompt: [1] }))), /engine broke/)
    broken = false
    assert.equal((await collect(batch.write(text()))).tokens.length, 20)
  })

  it('ends all texts when it is closed, and takes no more', async () => {
    const batch = createBatch(generator, { most: 1 })
    const runs = [collect(batch.write(text())), collect(batch.write(text()))]
    const ends = Promise.all(runs.map((run) => assert.rejects(() => run, /batch: is closed/)))
    await batch.close()
    await ends
    assert.throws(() => batch.write(text()), /batch: is closed/)
  })
})
