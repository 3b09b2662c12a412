import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { floats, type Params, transposed } from '../../src/base/array.ts'
import { type Adapter, readAdapter, writePeftAdapter } from '../../src/io/adapters.ts'
import { openSafetensors, writeSafetensors } from '../../src/io/safetensors.ts'
import { folderSource } from '../../src/node/files.ts'
import { folder } from '../folder.ts'

const fixture = folderSource('test/fixtures/adapter')
const prefix = 'transformer.'
const encode = (json: unknown) => new TextEncoder().encode(JSON.stringify(json))

/** alpha / rank · B A, (o i). */
function change({ rank, alpha, tensors }: Adapter, target: string): number[] {
  const [a, b] = [tensors[`${target}.lora_A.weight`]!, tensors[`${target}.lora_B.weight`]!]
  const [outputs, inputs] = [b.shape[0]!, a.shape[1]!]
  return Array.from({ length: outputs * inputs }, (_, at) => {
    const [o, i] = [Math.floor(at / inputs), at % inputs]
    let sum = 0
    for (let r = 0; r < rank; r++) sum += b.data[o * rank + r]! * a.data[r * inputs + i]!
    return (alpha / rank) * sum
  })
}

test("PEFT's adapter of a GPT-2 changes the weights as PEFT does", async () => {
  const adapter = await readAdapter(fixture, { prefix })
  assert.deepEqual([adapter.rank, adapter.alpha], [3, 5])
  assert.deepEqual(adapter.targets, ['h.0.attn.c_attn', 'h.0.mlp.c_proj', 'h.1.attn.c_attn', 'h.1.mlp.c_proj'])
  assert.deepEqual(adapter.tensors['h.0.mlp.c_proj.lora_A.weight']!.shape, [3, 96])
  const golden = await openSafetensors(fixture, 'golden.safetensors')
  assert.deepEqual(
    [...golden.names].sort(),
    adapter.targets.map((target) => `${target}.weight`),
  )
  for (const target of adapter.targets) {
    const want = transposed(await golden.tensor(`${target}.weight`)).data
    for (const [i, value] of change(adapter, target).entries()) assert.ok(Math.abs(value - want[i]!) < 1e-7, target)
  }
})

const modules = fc.uniqueArray(fc.constantFrom('h.0.attn.c_attn', 'h.1.mlp.c_fc', 'lm_head', 'a.b'), { minLength: 1 })
const adapters: fc.Arbitrary<Adapter> = fc
  .record({ rank: fc.integer({ min: 1, max: 3 }), alpha: fc.integer({ min: 1, max: 32 }), targets: modules })
  .map(({ targets, ...rest }) => {
    const random = (shape: readonly number[]) => floats(shape).data.map((_, i) => Math.fround(Math.sin(i + shape[0]!)))
    const pairs = targets.flatMap((target, i) => [
      [`${target}.lora_A.weight`, floats([rest.rank, 2 + i], random([rest.rank, 2 + i]))] as const,
      [`${target}.lora_B.weight`, floats([5 + i, rest.rank], random([5 + i, rest.rank]))] as const,
    ])
    return { ...rest, targets: targets.toSorted(), tensors: Object.fromEntries(pairs) }
  })

test('an adapter that is written for PEFT is read back as it was, whatever the prefix', async () => {
  await fc.assert(
    fc.asyncProperty(adapters, fc.constantFrom('', prefix), async (adapter, before) => {
      const memory = folder()
      await writePeftAdapter(memory, adapter, { prefix: before })
      assert.deepEqual(await readAdapter(memory, { prefix: before }), adapter)
    }),
    { numRuns: 50 },
  )
})

test('an adapter of mlx-lm is the same with transposed halves and a scale instead of alpha', async () => {
  const [a, b] = [floats([2, 3], [1, 2, 3, 4, 5, 6]), floats([5, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])]
  const memory = folder({
    'adapter_config.json': encode({ fine_tune_type: 'lora', lora_parameters: { rank: 2, scale: 10 } }),
  })
  const target = 'model.layers.0.self_attn.q_proj'
  const stored = { [`${target}.lora_a`]: transposed(a), [`${target}.lora_b`]: transposed(b) }
  await writeSafetensors(memory, 'adapters.safetensors', stored)
  assert.deepEqual(await readAdapter(memory), {
    rank: 2,
    alpha: 20,
    targets: [target],
    tensors: { [`${target}.lora_A.weight`]: a, [`${target}.lora_B.weight`]: b },
  })
})

test('rank-stabilised scaling is said as an alpha', async () => {
  const read = await withConfig({ use_rslora: true })
  assert.equal(read.alpha, 5 * Math.sqrt(3))
})

/** The fixture with other settings or tensors. */
async function withConfig(changes: object, tensors?: Params): Promise<Adapter> {
  const config = JSON.parse(readFileSync('test/fixtures/adapter/adapter_config.json', 'utf8'))
  const memory = folder({
    'adapter_config.json': encode({ ...config, ...changes }),
    'adapter_model.safetensors': new Uint8Array(readFileSync('test/fixtures/adapter/adapter_model.safetensors')),
  })
  if (tensors) await writeSafetensors(memory, 'adapter_model.safetensors', tensors)
  return readAdapter(memory)
}

test('what is more than plain LoRA, or does not fit, is named', async () => {
  const key = 'base_model.model.w.lora_'
  const [a, b] = [floats([3, 2]), floats([4, 3])]
  const faults: readonly [object, Params | undefined, RegExp][] = [
    [{ peft_type: 'IA3' }, undefined, /peft_type: got "IA3", want "LORA"/],
    [{ use_dora: true }, undefined, /use_dora: got true, want none: only plain LoRA is read/],
    [{ bias: 'all' }, undefined, /bias: got "all"/],
    [{ modules_to_save: ['lm_head'] }, undefined, /modules_to_save: got \["lm_head"\]/],
    [{ alpha_pattern: { q: 3 } }, undefined, /alpha_pattern: got \{"q":3\}/],
    [{ init_lora_weights: 'pissa_niter_4' }, undefined, /which changes the weights of the model too/],
    [{ r: 0 }, undefined, /\/adapter_config\.json: r: got 0, want a whole number from 1/],
    [{ lora_alpha: '5' }, undefined, /lora_alpha: got "5", want a number above 0/],
    [{ r: 4 }, undefined, /lora_A\.weight: got shape \[3,24\], want \[4, inputs\] for rank 4/],
    [{}, { [`${key}A.weight`]: a }, /w has no lora_B/],
    [{}, { [`${key}A.weight`]: a, [`${key}B.weight`]: b, 'base_model.model.v': a }, /v is no part of a plain LoRA/],
    [{}, { [`${key}A.weight`]: floats([6]), [`${key}B.weight`]: b }, /got shape \[6\], want two axes/],
    [{}, {}, /has no lora_A and lora_B/],
  ]
  for (const [changes, tensors, message] of faults) await assert.rejects(withConfig(changes, tensors), message)
  await assert.rejects(readAdapter(folder()), { message: /^memory: has no adapter, want one of adapter_model/ })
})
