import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { random } from '../../src/base/random.ts'
import {
  drawToken,
  likeliest,
  likeliestTokens,
  logProbability,
  logSum,
  type Sampling,
  sampleToken,
  tokenProbabilities,
} from '../../src/generate/sample.ts'

const logits = fc
  .array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1, maxLength: 40 })
  .map((values) => Float32Array.from(values, (value) => value / 64))
/** Few values, so that many tokens are equally likely. */
const tied = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 20 }).map((v) => Float32Array.from(v))
const sampling: fc.Arbitrary<Sampling> = fc.record(
  {
    temperature: fc.constantFrom(0, 0.01, 0.7, 1, 3),
    topK: fc.integer({ min: 1, max: 50 }),
    topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
    minP: fc.double({ min: 0, max: 1, noNaN: true }),
    repetitionPenalty: fc.constantFrom(0.5, 1, 1.3),
  },
  { requiredKeys: [] },
)

const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0)
const kept = (p: Float64Array) => [...p].flatMap((x, id) => (x > 0 ? [id] : []))

describe('token probabilities', () => {
  it('sum to 1 and give the likeliest token the most, whatever the options', () => {
    fc.assert(
      fc.property(fc.oneof(logits, tied), sampling, (x, options) => {
        const p = tokenProbabilities(x, options)
        assert.ok(Math.abs(sum(p) - 1) < 1e-12)
        assert.equal(p[likeliest(x)], Math.max(...p))
      }),
    )
  })

  it('with one token to choose from, or temperature 0, are certain of the likeliest', () => {
    fc.assert(
      fc.property(fc.oneof(logits, tied), fc.constantFrom({ topK: 1 }, { temperature: 0 }), (x, options) => {
        assert.deepEqual(kept(tokenProbabilities(x, options)), [likeliest(x)])
      }),
    )
  })

  it('with top-k are the k largest in their old proportions', () => {
    fc.assert(
      fc.property(fc.oneof(logits, tied), fc.integer({ min: 1, max: 40 }), (x, topK) => {
        const [p, all] = [tokenProbabilities(x, { topK }), tokenProbabilities(x)]
        const order = [...all.keys()].sort((a, b) => all[b]! - all[a]! || a - b).slice(0, topK)
        assert.deepEqual(
          kept(p),
          order.sort((a, b) => a - b),
        )
        const share = order.reduce((total, id) => total + all[id]!, 0)
        for (const id of order) assert.ok(Math.abs(p[id]! - all[id]! / share) < 1e-12)
      }),
    )
  })

  it('with top-p keep the smallest set that reaches p', () => {
    fc.assert(
      fc.property(fc.oneof(logits, tied), fc.double({ min: 0.01, max: 0.99, noNaN: true }), (x, topP) => {
        const [p, all] = [tokenProbabilities(x, { topP }), tokenProbabilities(x)]
        const shares = kept(p).map((id) => all[id]!)
        const total = shares.reduce((a, b) => a + b, 0)
        assert.ok(total >= topP - 1e-12)
        assert.ok(total - Math.min(...shares) < topP + 1e-12)
        const left = [...all].filter((_, id) => p[id] === 0)
        assert.ok(Math.min(...shares) >= Math.max(0, ...left))
      }),
    )
  })

  it('with min-p keep the tokens with that share of the largest probability', () => {
    fc.assert(
      fc.property(logits, fc.double({ min: 0.01, max: 1, noNaN: true }), (x, minP) => {
        const all = tokenProbabilities(x)
        const edge = minP * Math.max(...all)
        assert.deepEqual(kept(tokenProbabilities(x, { minP })), kept(all.map((p) => (p >= edge ? p : 0))))
      }),
    )
  })

  it('fall for tokens that were seen, and only for them, under a repetition penalty', () => {
    const x = Float32Array.from([2, -2, 2, -2, 0])
    const p = tokenProbabilities(x, { repetitionPenalty: 2 }, { seen: [0, 1, 1] })
    const want = tokenProbabilities(Float32Array.from([1, -4, 2, -2, 0]))
    assert.deepEqual(p, want)
    assert.deepEqual([...x], [2, -2, 2, -2, 0])
  })

  it('fall once for tokens that were written, and once more for each time', () => {
    const x = Float32Array.from([2, -2, 2, -2, 0])
    const written = new Map([
      [0, 3],
      [3, 1],
    ])
    const p = tokenProbabilities(x, { presencePenalty: 0.5, frequencyPenalty: 0.25 }, { seen: [4], written })
    assert.deepEqual(p, tokenProbabilities(Float32Array.from([0.75, -2, 2, -2.75, 0])))
  })

  it('move by the bias of a token', () => {
    const p = tokenProbabilities(Float32Array.from([2, -2, 2]), { bias: new Map([[1, 3.5]]) })
    assert.deepEqual(p, tokenProbabilities(Float32Array.from([2, 1.5, 2])))
  })

  it('flatten as the temperature rises', () => {
    const x = Float32Array.from([0, 1, 2])
    const peaks = [0, 0.5, 1, 2, 1000].map((temperature) => tokenProbabilities(x, { temperature })[2]!)
    assert.deepEqual(
      peaks,
      peaks.toSorted((a, b) => b - a),
    )
    assert.ok(peaks.at(-1)! < 0.334)
  })

  const wrong: readonly [Sampling, RegExp][] = [
    [{ temperature: -1 }, /temperature: got -1/],
    [{ topK: 0 }, /topK: got 0/],
    [{ topK: 1.5 }, /topK: got 1.5/],
    [{ topP: 0 }, /topP: got 0/],
    [{ topP: 1.1 }, /topP: got 1.1/],
    [{ minP: Number.NaN }, /minP: got NaN/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty: got 0/],
    [{ presencePenalty: Infinity }, /presencePenalty: got Infinity/],
    [{ frequencyPenalty: Number.NaN }, /frequencyPenalty: got NaN/],
    [{ bias: new Map([[7, -Infinity]]) }, /bias of token 7: got -Infinity/],
  ]
  for (const [options, message] of wrong) {
    it(`refuse ${JSON.stringify(options)}`, () => {
      assert.throws(() => tokenProbabilities(Float32Array.of(1, 2), options), { name: 'RangeError', message })
    })
  }

  it('refuse logits that are not finite', () => {
    for (const bad of [Number.NaN, Infinity]) {
      for (const temperature of [0, 1]) {
        assert.throws(() => tokenProbabilities(Float32Array.of(1, bad), { temperature }), /largest logit of/)
      }
    }
  })
})

describe('drawing a token', () => {
  it('follows the probabilities, and never gives a token of probability 0', () => {
    const p = Float64Array.of(0, 0.2, 0, 0.5, 0.3, 0)
    const rng = random(7)
    const counts = new Float64Array(6)
    for (let i = 0; i < 20000; i++) counts[drawToken(p, rng.uniform())]! += 1 / 20000
    for (const [id, count] of counts.entries()) assert.ok(p[id] === 0 ? count === 0 : Math.abs(count - p[id]!) < 0.015)
    assert.equal(drawToken(p, 0), 1)
    assert.equal(drawToken(p, 1), 4)
  })

  it('repeats with the seed', () => {
    const p = tokenProbabilities(Float32Array.from({ length: 30 }, (_, i) => i / 10))
    const draws = (seed: number) => {
      const rng = random(seed)
      return Array.from({ length: 20 }, () => drawToken(p, rng.uniform()))
    }
    assert.deepEqual(draws(3), draws(3))
    assert.notDeepEqual(draws(3), draws(4))
  })
})

it('log probabilities are the logarithm of the plain probabilities', () => {
  fc.assert(
    fc.property(logits, (x) => {
      const p = tokenProbabilities(x)
      for (const [id, share] of p.entries()) assert.ok(Math.abs(logProbability(x, id) - Math.log(share)) < 1e-9)
    }),
  )
})

it('a sampled token is the draw from its probabilities, and at temperature 0 the likeliest without a draw', () => {
  fc.assert(
    fc.property(logits, sampling, fc.double({ min: 0, max: 0.999, noNaN: true }), (x, options, uniform) => {
      const history = { seen: [0], written: new Map([[0, 2]]) }
      const p = tokenProbabilities(x, options, history)
      const never = () => assert.fail('drew at temperature 0')
      const draw = options.temperature === 0 ? never : () => uniform
      assert.equal(sampleToken(x, options, history, draw), drawToken(p, uniform))
    }),
  )
})

it('the likeliest tokens are the first of all in their order', () => {
  fc.assert(
    fc.property(fc.oneof(logits, tied), fc.integer({ min: 0, max: 12 }), (x, count) => {
      const order = [...x.keys()].sort((a, b) => x[b]! - x[a]! || a - b).slice(0, count)
      const want = order.map((id) => ({ id, logProbability: x[id]! - logSum(x) }))
      assert.deepEqual(likeliestTokens(x, count), want)
    }),
  )
})
