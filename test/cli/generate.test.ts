import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { hedgehog } from './hedgehog.ts'

const model = fileURLToPath(new URL('../fixtures/gpt2-tiny', import.meta.url))

const folder = await mkdtemp(join(tmpdir(), 'hedgehog-generate-'))
after(() => rm(folder, { recursive: true }))

const generate = (...argv: readonly string[]) => hedgehog(['generate', model, ...argv])

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

test('generate goes on from a saved state as it would have without a break', async () => {
  const greedy = ['--temperature', '0', '--json']
  const whole = JSON.parse((await generate('--prompt', 'abc', '--tokens', '12', ...greedy)).out)
  const file = join(folder, 'state.safetensors')
  const begun = JSON.parse((await generate('--prompt', 'abc', '--tokens', '2', '--save', file, ...greedy)).out)
  const rest = JSON.parse((await generate('--load', file, '--tokens', '10', ...greedy)).out)
  assert.equal(begun.text + rest.text, whole.text)
  assert.equal(rest.promptTokens, 1)
})

test('generate refuses a state that it cannot go on from', async () => {
  const file = join(folder, 'missing.safetensors')
  const { code, err } = await generate('--load', file)
  assert.deepEqual([code, err], [1, `hedgehog: ${folder}: has no file missing.safetensors\n`])
  const both = await generate('--load', file, '--count', '2')
  assert.equal(both.code, 2)
  assert.match(both.err, /--count: several texts have no one state/)
})

test('generate ends before a stop text, and says why it ended', async () => {
  const greedy = ['--prompt', 'abc', '--tokens', '20', '--temperature', '0', '--json']
  const { text } = JSON.parse((await generate(...greedy)).out)
  const stop = text.slice(4, 7)
  const stopped = JSON.parse((await generate(...greedy, '--stop', stop)).out)
  assert.deepEqual([stopped.text, stopped.ending], [text.slice(0, text.indexOf(stop)), 'stop'])
})

test('generate --logprobs gives ln p of each token, greedy ones being the likeliest', async () => {
  const line = ['--prompt', 'abc', '--tokens', '6', '--temperature', '0', '--json', '--logprobs', '2']
  const { logProbabilities, tokens, meanNegativeLogProbability: mean } = JSON.parse((await generate(...line)).out)
  assert.ok(tokens > 1)
  assert.equal(logProbabilities.length, tokens)
  let sum = 0
  for (const { token, logProbability, alternatives } of logProbabilities) {
    assert.deepEqual(alternatives[0], { token, logProbability })
    assert.equal(alternatives.length, 2)
    sum -= logProbability
  }
  assert.ok(Math.abs(sum / tokens - mean) < 1e-6)
})

test('generate --count writes several texts, the same for the same seed, and each another', async () => {
  const line = ['--prompt', 'abc', '--tokens', '9', '--count', '3', '--json']
  const [once, again] = [JSON.parse((await generate(...line)).out), JSON.parse((await generate(...line)).out)]
  const texts = once.texts.map(({ text }: { text: string }) => text)
  assert.equal(new Set(texts).size, 3)
  assert.deepEqual(again.texts, once.texts)
  const counts = once.texts.map(({ tokens }: { tokens: number }) => tokens)
  assert.equal(
    once.tokens,
    counts.reduce((a: number, b: number) => a + b, 0),
  )
})
