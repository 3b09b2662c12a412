import assert from 'node:assert/strict'
import { test } from 'node:test'
import { finish } from '../../src/base/progress.ts'
import { readJsonObject } from '../../src/io/json.ts'
import { freeMemory } from '../../src/node/freeMemory.ts'
import { openSource } from '../../src/node/source.ts'

const open = (name: string) => finish(openSource(name))

test('a model is a folder or a GGUF file, and named for the folder', async () => {
  const folder = await open('test/fixtures/gpt2-tiny')
  assert.equal(folder.name, 'test/fixtures/gpt2-tiny')
  assert.equal((await readJsonObject(folder, 'config.json')).model_type, 'gpt2')
  const file = await open('test/fixtures/gguf/llama.gguf')
  assert.equal(file.name, 'test/fixtures/gguf')
  assert.equal((await readJsonObject(file, 'config.json')).model_type, 'llama')
})

test('a folder that is not there, or has several GGUF files, says so', async () => {
  await assert.rejects(open('test/fixtures/none'), { message: 'test/fixtures/none: no such folder' })
  await assert.rejects(open('test/fixtures/gguf'), /has several GGUF files, llama\.gguf, types\.gguf; name one/)
  await assert.rejects(open('hub:only-a-name'), { message: /^hub:only-a-name: want hub:owner\/name, / })
})

test('free memory is a number of bytes that a machine can have', () => {
  const free = freeMemory()
  assert.ok(free > 2 ** 20 && free < 2 ** 50, `${free}`)
})
