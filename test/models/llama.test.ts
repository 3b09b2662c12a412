import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, describe, it } from 'node:test'
import { floats, ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import { createGenerator } from '../../src/generate/state.ts'
import { families, newModel, readConfig } from '../../src/models/families.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import type { Json } from '../../src/models/model.ts'
import { openDevice } from '../../src/node/device.ts'
import { folderSource } from '../../src/node/files.ts'
import { noisyModel, zerosLike } from '../execute/tiny.ts'
import { readGolden } from '../golden.ts'

const device = await openDevice('cpu', { threads: 1 })
const folderOf = (name: string) => new URL(`../fixtures/${name}-tiny/`, import.meta.url)
const jsonOf = async (name: string, file: string): Promise<Json> =>
  JSON.parse(await readFile(new URL(file, folderOf(name)), 'utf8'))

for (const name of ['llama', 'mistral', 'qwen2']) {
  describe(name, async () => {
    const { config, params } = await loadModel(folderSource(folderOf(name).pathname))
    const golden = readGolden(`${name}-tiny/golden.safetensors`)
    const { loss: goldenLoss } = (await jsonOf(name, 'golden.json')) as { loss: number }
    const ids = ints([2, 17], Int32Array.from(golden('ids').data))
    const labels = ints([2, 17], Int32Array.from(golden('labels').data))
    const forward = createForward(device, config)
    after(() => forward.dispose())

    it('computes the logits and the loss that transformers computes', async () => {
      const h = await forward.hidden(params, { ids })
      close(h.data, golden('hidden.2').data, 1e-5)
      close((await forward.logits(params, h)).data, golden('logits').data, 1e-5)
      const losses = await forward.losses(params, h, labels)
      assert.ok(Math.abs(losses.reduce((a, b) => a + b, 0) / losses.length - goldenLoss) < 1e-6)
    })

    for (const saved of [undefined, []]) {
      it(`has every gradient that torch computes when it keeps ${saved ? 'nothing' : 'what is planned'}`, async () => {
        const backward = createBackward(device, config, saved ? { saved } : {})
        const grads = zerosLike(params, 7)
        const how = { tokenWeight: 1 / ids.data.length, fresh: true }
        const loss = await backward.accumulate(params, grads, { ids, labels }, how)
        await backward.dispose()
        assert.ok(Math.abs(loss - goldenLoss) < 1e-6)
        for (const [path, gradient] of Object.entries(grads)) {
          close(gradient.data, golden(`grad.${named(path)}`).data, 1e-5, path)
        }
      })
    }

    it('reads text in pieces as it reads it at once, with softmax and with linear attention', async () => {
      for (const plan of [{ kind: 'softmax' }, { kind: 'linear', map: 'hedgehog-exp' }] as const) {
        const json = { ...config.json, hedgehog: { attention: Array(config.layers).fill(plan) } }
        const model = noisyModel(readConfig(json))
        const whole = createForward(device, model.config)
        const want = await whole.logits(model.params, await whole.hidden(model.params, { ids }))
        await whole.dispose()
        const generator = createGenerator(device, model)
        assert.equal(generator.limit, Number.POSITIVE_INFINITY)
        let state = generator.start(2)
        for (const [from, to] of [
          [0, 5],
          [5, 6],
          [6, 16],
          [16, 17],
        ] as const) {
          const piece = [0, 1].flatMap((row) => [...ids.data.subarray(17 * row + from, 17 * row + to)])
          const { logits, state: next } = await generator.advance(state, ints([2, to - from], piece))
          state = next
          const last = [0, 1].flatMap((row) => [
            ...want.data.subarray((17 * row + to - 1) * config.vocab, (17 * row + to) * config.vocab),
          ])
          close(logits.data, last, 1e-5)
        }
        await generator.dispose()
      }
    })

    it('is stored with the names that transformers gives, and read again', async () => {
      const files = new Map<string, Uint8Array>()
      await saveModel(
        { name: 'memory', write: async (path, chunks) => void files.set(path, await joined(chunks)) },
        { config, params },
      )
      const header = new TextDecoder().decode(files.get('model.safetensors')!.subarray(8))
      const own = readGolden(`${name}-tiny/model.safetensors`)
      for (const path of Object.keys(params)) {
        assert.ok(header.includes(`"${named(path)}"`))
        assert.ok(own(named(path)))
      }
      const json = JSON.parse(new TextDecoder().decode(files.get('config.json')!))
      assert.deepEqual(json, await jsonOf(name, 'config.json'))
    })
  })
}

describe("a family of Llama's shape", () => {
  const family = families.llama!
  const sizes = { layers: 2, heads: 4, keyHeads: 2, width: 24, vocab: 11, maxLength: 9 }

  it('gives each query head a feature map of its own for the keys it shares', () => {
    const config = family.configOf({ ...sizes, attention: { kind: 'linear', map: 'hedgehog-exp' } })
    const { params } = newModel(config, random(0))
    for (const side of ['q', 'k']) {
      assert.deepEqual(params[`layers.1.self_attn.feature_map_${side}.weight`]!.shape, [4, 6, 6])
    }
    assert.deepEqual(params['layers.1.self_attn.k_proj.weight']!.shape, [12, 24])
  })

  it('is trained past the length that it was made for, as no table of positions ends', async () => {
    const model = noisyModel(family.configOf(sizes))
    const forward = createForward(device, model.config)
    const h = await forward.hidden(model.params, { ids: ints([1, 13], Array(13).fill(3)) })
    assert.ok(h.data.every(Number.isFinite))
    await forward.dispose()
  })

  it('feels of positions only how far they are apart', async () => {
    const { config, params } = noisyModel(family.configOf(sizes))
    const forward = createForward(device, config)
    const ids = ints([1, 5], [2, 5, 7, 5, 1])
    const x = await forward.embed(params, { ids })
    const from = (start: number) => forward.block(params, 0, x, forward.shared({ ids }, start))
    const here = await from(0)
    close((await from(1000)).data, here.data, 1e-4)
    const still = Object.fromEntries(
      Object.entries(forward.shared({ ids })).map(([name, { shape }]) => [name, floats(shape)]),
    )
    const unturned = await forward.block(params, 0, x, { ...still, 'pos.cosine': floats([5, 3], Array(15).fill(1)) })
    assert.ok(unturned.data.some((value, i) => Math.abs(value - here.data[i]!) > 1e-3))
    await forward.dispose()
  })

  it('ignores tensors that are no parameters of it', () => {
    for (const path of ['layers.0.self_attn.rotary_emb.inv_freq', 'lm_head.weight', 'score.weight'])
      assert.ok(family.ignores(path))
    assert.ok(!family.ignores('layers.0.self_attn.q_proj.weight'))
  })

  it('has a window in those layers that its config.json says', async () => {
    const kinds = (json: Json) => readConfig(json).attention.map((plan) => ('window' in plan ? plan.window : plan.kind))
    const [one, other] = [await jsonOf('mistral', 'config.json'), await jsonOf('qwen2', 'config.json')]
    assert.deepEqual(kinds(one), [7, 7])
    assert.deepEqual(kinds({ ...one, sliding_window: null }), ['softmax', 'softmax'])
    assert.deepEqual(kinds(other), ['softmax', 9])
    assert.deepEqual(kinds({ ...other, layer_types: ['sliding_attention', 'full_attention'] }), [9, 'softmax'])
    assert.deepEqual(kinds({ ...other, use_sliding_window: false }), ['softmax', 'softmax'])
  })

  const faults: readonly (readonly [object, RegExp])[] = [
    [
      { head_dim: null, hidden_size: 15, num_attention_heads: 3, num_key_value_heads: 3 },
      /head dimension: got 5 turned components/,
    ],
    [{ head_dim: 7 }, /head dimension: got 7 turned components, want an even number/],
    [{ num_key_value_heads: 3 }, /num_key_value_heads: got 3, want a divisor of num_attention_heads = 4/],
    [{ head_dim: null, num_attention_heads: 6, num_key_value_heads: 6 }, /num_attention_heads: got 6, want a divisor/],
    [{ hidden_act: 'gelu' }, /hidden_act: got "gelu", want "silu"/],
    [{ tie_word_embeddings: 'yes' }, /tie_word_embeddings: got "yes"/],
    [{ partial_rotary_factor: 0.5, head_dim: 8 }, /partial_rotary_factor: got 0\.5 of a head turned, want 1/],
    [{ rope_parameters: { rope_type: 'longrope' } }, /rope_parameters\.rope_type: got "longrope"/],
    [{ intermediate_size: undefined }, /intermediate_size: got nothing/],
    [{ architectures: ['LlamaForQuestionAnswering'] }, /architectures: got "LlamaForQuestionAnswering"/],
  ]
  for (const [change, message] of faults) {
    it(`does not read a config.json with ${JSON.stringify(change)}`, async () => {
      const json = { ...(await jsonOf('llama', 'config.json')), ...change }
      assert.throws(() => readConfig(json), { message })
    })
  }
})

/** The name that the reference library has for a path. */
function named(path: string): string {
  return path.startsWith('lm_head.') ? path : `model.${path}`
}

async function joined(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk.slice())
  return Buffer.concat(parts)
}

function close(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number, what = ''): void {
  assert.equal(got.length, want.length)
  for (let i = 0; i < got.length; i++) {
    const fits = Math.abs(got[i]! - want[i]!) <= tolerance * (1 + Math.abs(want[i]!))
    assert.ok(fits, `${what}[${i}]: got ${got[i]}, want ${want[i]}`)
  }
}
