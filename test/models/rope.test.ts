import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { readRope, rotaryTables } from '../../src/models/rope.ts'

const golden = JSON.parse(await readFile(new URL('../fixtures/rope.json', import.meta.url), 'utf8'))
const sizes = { headDim: 16, maxLength: 2048 }

describe('rotary position embedding', () => {
  for (const { name, config, type, length, frequencies, attentionFactor } of golden.cases) {
    it(`has the frequencies of transformers: ${name}`, () => {
      const rope = readRope('llama', config, {
        headDim: config.head_dim ?? config.hidden_size / config.num_attention_heads,
        maxLength: config.max_position_embeddings,
      })
      assert.equal(rope.type, type)
      assert.equal(rope.dim, 2 * frequencies.length)
      near(rope.frequencies(length), frequencies, 1e-13)
      near([rope.attentionFactor], [attentionFactor], 1e-13)
    })
  }

  it('is tested on every type of the table', () => {
    const types = new Set(golden.cases.map(({ type }: { type: string }) => type))
    assert.deepEqual([...types], ['default', 'linear', 'dynamic', 'llama3', 'yarn'])
  })

  it('depends on the length of the text only where it is dynamic', () => {
    for (const { config, type } of golden.cases) {
      const rope = readRope('llama', config, { headDim: config.head_dim ?? 16, maxLength: 2048 })
      const [short, long] = [[...rope.frequencies(1)], [...rope.frequencies(9000)]]
      if (type === 'dynamic') assert.notDeepEqual(short, long)
      else assert.deepEqual(short, long)
    }
  })
})

describe('tables of cosines and sines', () => {
  it('hold position times frequency, from the start that is given', () => {
    const rope = readRope('llama', { rope_theta: 100 }, { headDim: 6, maxLength: 9 })
    const { cosine, sine } = rotaryTables(rope, { start: 4, length: 3 })
    assert.deepEqual(cosine.shape, [3, 3])
    const angles = [4, 5, 6].flatMap((position) => [0, 1, 2].map((i) => position * 100 ** (-i / 3)))
    near(cosine.data, angles.map(Math.cos), 1e-7)
    near(sine.data, angles.map(Math.sin), 1e-7)
  })

  it('are exact to float32 at position one million', () => {
    const { sine } = rotaryTables(readRope('llama', {}, sizes), { start: 1e6, length: 1 })
    const rope = readRope('llama', {}, sizes)
    near(
      sine.data,
      [...rope.frequencies(1)].map((frequency) => Math.sin(1e6 * frequency)),
      1e-7,
    )
  })

  it('are multiplied by the attention factor', () => {
    const scaling = { rope_type: 'yarn', factor: 4, attention_factor: 1.25 }
    const { cosine, sine } = rotaryTables(readRope('llama', { rope_scaling: scaling }, sizes), { length: 5 })
    near(
      cosine.data.map((c, i) => Math.hypot(c, sine.data[i]!)),
      Array(40).fill(1.25),
      1e-6,
    )
  })

  it('of the parts of a text are the rows of the tables of the whole', () => {
    const rope = readRope('llama', { rope_scaling: { type: 'dynamic', factor: 2 } }, sizes)
    const whole = rotaryTables(rope, { length: 7 })
    const rest = rotaryTables(rope, { start: 3, length: 4 })
    assert.deepEqual([...rest.cosine.data], [...whole.cosine.data.subarray(3 * 8)])
    assert.deepEqual([...rest.sine.data], [...whole.sine.data.subarray(3 * 8)])
  })
})

describe('a config.json with rotary position embedding that cannot be read', () => {
  const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 4 }
  const cases: readonly (readonly [string, object, RegExp])[] = [
    [
      'an unknown type',
      { rope_scaling: { type: 'longrope' } },
      /rope_scaling\.rope_type: got "longrope", want default/,
    ],
    [
      'a missing factor',
      { rope_scaling: { type: 'linear' } },
      /rope_scaling\.factor: got nothing, want a number above 0/,
    ],
    ['a factor of 0', { rope_parameters: { rope_type: 'dynamic', factor: 0 } }, /rope_parameters\.factor: got 0, want/],
    ['a theta that is text', { rope_theta: '1e4' }, /json: rope_theta: got "1e4", want a number above 0/],
    ['settings per kind of layer', { rope_parameters: { full_attention: {} } }, /rope_parameters\.full_attention: got/],
    ['a scaling that is no object', { rope_scaling: 2 }, /rope_scaling: got 2, want an object/],
    [
      'bounds that cross',
      { rope_scaling: llama3 },
      /rope_scaling\.high_freq_factor: got 4, want more than .* 4 \(llama\)/,
    ],
    ['a bound that is missing', { rope_scaling: { ...llama3, low_freq_factor: null } }, /low_freq_factor: got null/],
    ['a switch that is no switch', { rope_scaling: { type: 'yarn', truncate: 1 } }, /rope_scaling\.truncate: got 1/],
    [
      'an odd part of the head',
      { partial_rotary_factor: 0.7 },
      /got 11 turned components of 16 with .* 0\.7, want an even/,
    ],
    ['more than the head', { partial_rotary_factor: 2 }, /got 32 turned components of 16 with .* 2, want an even/],
  ]
  for (const [name, json, message] of cases) {
    it(`names the key of ${name}`, () => assert.throws(() => readRope('llama', { ...json }, sizes), { message }))
  }

  it('says so when the head dimension is odd', () => {
    const message = /^config\.json: head dimension: got 5 turned components, want an even number, .* \(llama\)$/
    assert.throws(() => readRope('llama', {}, { ...sizes, headDim: 5 }), { message })
  })
})

function near(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number): void {
  assert.equal(got.length, want.length)
  for (let i = 0; i < got.length; i++) {
    const fits = Math.abs(got[i]! - want[i]!) <= tolerance * Math.abs(want[i]!) + tolerance * 1e-3
    assert.ok(fits, `[${i}]: got ${got[i]}, want ${want[i]}`)
  }
}
