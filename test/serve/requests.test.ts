import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RequestFault } from '../../src/serve/faults.ts'
import { readChat, readCompletion } from '../../src/serve/requests.ts'

const limits = { model: 'm', mostTokens: 100, mostChoices: 8 }
const readers = { completion: readCompletion, chat: readChat }

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
/** Fields that both kinds have, with good values. */
const shared = {
  model: fc.constant('m'),
  temperature: optional(fc.double({ min: 0, max: 2, noNaN: true })),
  top_p: optional(fc.double({ min: 0.001, max: 1, noNaN: true })),
  top_k: optional(fc.integer({ min: -1, max: 500 })),
  min_p: optional(fc.double({ min: 0, max: 1, noNaN: true })),
  frequency_penalty: optional(fc.double({ min: -2, max: 2, noNaN: true })),
  seed: optional(fc.maxSafeInteger()),
  stop: optional(fc.oneof(text, fc.array(text, { maxLength: 4 }))),
  stream: optional(fc.boolean()),
  n: optional(fc.integer({ min: 1, max: 2 })),
  user: optional(text),
  logit_bias: optional(fc.dictionary(fc.nat(999).map(String), fc.integer({ min: -100, max: 100 }))),
}
const ids = fc.array(fc.nat(5000), { minLength: 1, maxLength: 5 })
const completion = fc.record({
  ...shared,
  prompt: fc.oneof(
    fc.string(),
    fc.array(fc.string(), { minLength: 1, maxLength: 4 }),
    ids,
    fc.array(ids, { minLength: 1, maxLength: 4 }),
  ),
  max_tokens: optional(fc.nat(100)),
  logprobs: optional(fc.nat(20)),
  echo: optional(fc.boolean()),
})
const chat = fc.record({
  ...shared,
  messages: fc.array(
    fc.record({
      role: fc.constantFrom('system', 'user', 'assistant'),
      content: fc.oneof(fc.string(), fc.array(fc.record({ type: fc.constant('text'), text: fc.string() }))),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  max_completion_tokens: optional(fc.integer({ min: 1, max: 100 })),
})
const good = { completion, chat }

describe('a request', () => {
  for (const kind of ['completion', 'chat'] as const) {
    it(`for a ${kind} is read where all of it is good, and nothing of it is lost`, () => {
      fc.assert(
        fc.property(good[kind] as fc.Arbitrary<Record<string, unknown>>, (body) => {
          const { jobs, stream } = readers[kind](JSON.parse(JSON.stringify(body)), limits, 5)
          const prompt = body.prompt as unknown
          const isList = Array.isArray(prompt) && typeof prompt[0] !== 'number'
          const prompts = isList ? (prompt as unknown[]) : [kind === 'chat' ? 'messages' : prompt]
          const choices = Number(body.n ?? 1)
          assert.equal(jobs.length, prompts.length * choices)
          assert.equal(stream, body.stream ?? false)
          for (const [i, job] of jobs.entries()) {
            assert.equal(job.choice, i)
            const of = prompts[Math.floor(i / choices)]
            if (kind === 'completion') assert.deepEqual(job.prompt, typeof of === 'string' ? { text: of } : { ids: of })
            assert.equal(job.sampling.temperature, body.temperature ?? 1)
            assert.equal(job.sampling.topP, body.top_p ?? 1)
            assert.equal(job.sampling.topK, Number(body.top_k ?? 0) > 0 ? body.top_k : undefined)
            assert.equal(job.seed, Number(body.seed ?? 5) >>> 0)
            assert.deepEqual(job.stop, [body.stop ?? []].flat())
            assert.equal(job.sampling.bias?.size, body.logit_bias && Object.keys(body.logit_bias).length)
            assert.equal(
              job.maxTokens,
              body.max_tokens ?? body.max_completion_tokens ?? (kind === 'chat' ? undefined : 16),
            )
          }
        }),
      )
    })

    it(`for a ${kind} that is anything at all is read or refused with a status below 500`, () => {
      const anything = fc.jsonValue({ maxDepth: 3 })
      const spoiled = fc
        .tuple(
          good[kind] as fc.Arbitrary<Record<string, unknown>>,
          fc.constantFrom(
            ...Object.keys(shared),
            'prompt',
            'messages',
            'logprobs',
            'max_tokens',
            '__proto__',
            'constructor',
          ),
          anything,
        )
        .map(([body, name, value]) => JSON.parse(JSON.stringify({ ...body, [name]: value })))
      fc.assert(
        fc.property(fc.oneof(anything, spoiled), (body) => {
          try {
            assert.ok(readers[kind](body, limits, 5).jobs.length >= 1)
          } catch (error) {
            assert.ok(error instanceof RequestFault, String(error))
            assert.ok(error.status === 400 || error.status === 404)
            assert.ok(error.message.length < 400, error.message)
          }
        }),
        { numRuns: 1000 },
      )
    })
  }

  it('may name a newer role, parts of text and fields that say nothing about the answer', () => {
    const { jobs } = readChat(
      {
        model: 'm',
        messages: [
          {
            role: 'developer',
            content: [
              { type: 'text', text: 'Be ' },
              { type: 'text', text: 'brief.' },
            ],
          },
        ],
        metadata: { a: 'b' },
        tools: [],
        suffix: null,
      },
      limits,
      5,
    )
    assert.deepEqual(jobs[0]!.prompt, { messages: [{ role: 'system', content: 'Be brief.' }] })
  })
})
