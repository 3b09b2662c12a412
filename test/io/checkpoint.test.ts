import assert from 'node:assert/strict'
import { test } from 'node:test'
import { floats } from '../../src/base/array.ts'
import { checkMemory, float32Bytes, openCheckpoint } from '../../src/io/checkpoint.ts'
import { writeSafetensors } from '../../src/io/safetensors.ts'
import { folder } from '../folder.ts'

test('a checkpoint of several files reads as one of one file does', async () => {
  const params = { a: floats([2], [1, 2]), b: floats([1, 2], [3, 4]), c: floats([], [5]) }
  const one = folder()
  await writeSafetensors(one, 'model.safetensors', params)
  const many = folder()
  await writeSafetensors(many, 'x.safetensors', { a: params.a, c: params.c })
  await writeSafetensors(many, 'y.safetensors', { b: params.b })
  const index = { weight_map: { a: 'x.safetensors', b: 'y.safetensors', c: 'x.safetensors' } }
  many.files['model.safetensors.index.json'] = new TextEncoder().encode(JSON.stringify(index))
  const [single, sharded] = [await openCheckpoint(one), await openCheckpoint(many)]
  assert.deepEqual(sharded.names, single.names)
  for (const name of single.names) assert.deepEqual(await sharded.tensor(name), await single.tensor(name))
  await assert.rejects(async () => sharded.tensor('d'), /names no tensor d/)
})

test('a checkpoint that lacks its files, or whose index is wrong, says which', async () => {
  const open = (files: Record<string, string>) =>
    openCheckpoint(folder(Object.fromEntries(Object.entries(files).map(([k, v]) => [k, new TextEncoder().encode(v)]))))
  const index = 'model.safetensors.index.json'
  await assert.rejects(
    open({}),
    /^Error: memory: has no weights, want one of model.safetensors, pytorch_model.bin, an index/,
  )
  await assert.rejects(open({ 'weights.h5': '' }), /; weights.h5 alone is not read/)
  await assert.rejects(open({ [index]: '{"weight_map":{"a":"x.safetensors"}}' }), /no file x.safetensors/)
  for (const text of [
    '',
    'null',
    '{}',
    '{"weight_map":[]}',
    '{"weight_map":{"a":1}}',
    '{"weight_map":{"a":"x.bin"}}',
  ]) {
    await assert.rejects(open({ [index]: text }), /index.json: (want JSON with "weight_map"|is not JSON)/)
  }
  const mapped = folder({ [index]: new TextEncoder().encode('{"weight_map":{"z":"x.safetensors"}}') })
  await writeSafetensors(mapped, 'x.safetensors', { a: floats([1]) })
  await assert.rejects(openCheckpoint(mapped), /x.safetensors: has no tensor z/)
})

test('weights that do not fit into memory are a RangeError with both numbers', async () => {
  const memory = folder()
  await writeSafetensors(memory, 'model.safetensors', { a: floats([3, 5]), b: floats([2]) }, { dtype: 'float16' })
  const needed = float32Bytes(await openCheckpoint(memory))
  assert.equal(needed, 4 * 17)
  assert.equal(float32Bytes(await openCheckpoint(memory), ['b']), 4 * 2)
  checkMemory('here', needed, 68)
  assert.throws(() => checkMemory('here', 4.3e9, 2.1e9), {
    name: 'RangeError',
    message: /^here: its weights take 4\.3 GB as float32, 2\.1 GB of memory are free; use a smaller model/,
  })
})
