import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { commands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/program.ts'

const model = fileURLToPath(new URL('../fixtures/gpt2-tiny', import.meta.url))

async function generate(...argv: readonly string[]) {
  const written = { out: '', err: '' }
  const code = await runCommandLine(['generate', model, ...argv], commands, {
    out: { write: (text) => (written.out += text) },
    err: { write: (text) => (written.err += text) },
    env: {},
    signals: new EventEmitter(),
    version: '1.2.3',
    now: () => 0,
    memory: () => 0,
    exit: () => {},
  })
  return { code, ...written }
}

test('generate prints the prompt and goes on from it, the same for the same seed', async () => {
  const [once, again, other] = [
    await generate('--prompt', 'abc', '--tokens', '9'),
    await generate('--prompt', 'abc', '--tokens', '9'),
    await generate('--prompt', 'abc', '--tokens', '9', '--seed', '5'),
  ]
  assert.equal(once.code, 0)
  assert.match(once.out, /^abc.+\n$/s)
  assert.equal(again.out, once.out)
  assert.notEqual(other.out, once.out)
})

test('generate --json prints one line with text, counts and the size of the state', async () => {
  const plain = await generate('--prompt', 'abc', '--tokens', '9')
  const { out } = await generate('--prompt', 'abc', '--tokens', '9', '--json')
  assert.equal(out.trim().split('\n').length, 1)
  const result = JSON.parse(out)
  assert.equal(`${result.prompt + result.text}\n`, plain.out)
  assert.deepEqual([result.tokens, result.seed], [9, 0])
  assert.ok(result.tokensPerSecond > 0 && result.stateBytes > 0 && result.meanNegativeLogProbability > 0)
})

test('generate without a prompt begins a text, and stays within the model', async () => {
  const { code, out } = await generate('--temperature', '0', '--json')
  assert.equal(code, 0)
  const { promptTokens, tokens } = JSON.parse(out)
  assert.equal(promptTokens, 1)
  assert.ok(tokens <= 32)
})

test('generate says how many positions there are when more tokens are asked for', async () => {
  const { code, out, err } = await generate('--prompt', 'the', '--tokens', '500')
  assert.deepEqual([code, out], [1, ''])
  assert.match(err, /want at most 32, which the model has embeddings for/)
})
