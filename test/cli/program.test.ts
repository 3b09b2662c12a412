import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { Interrupted, UsageError } from '../../src/base/errors.ts'
import type { Progress } from '../../src/base/progress.ts'
import type { Body, Command } from '../../src/cli/command.ts'
import { command } from '../../src/cli/command.ts'
import { commands } from '../../src/cli/commands.ts'
import type { Values } from '../../src/cli/options.ts'
import { flag, flagOf, many, option, required, withDefault } from '../../src/cli/options.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import { integer, path } from '../../src/cli/readers.ts'

const options = {
  data: required(many(option('FILE', path, 'files to count'))),
  chunkSize: withDefault(option('N', integer(), 'size of a chunk'), 64),
  limit: option('N', integer(), 'where to stop'),
  force: flag('do it all the same'),
}

type CountBody = Body<typeof options, 'model'>

function counting(run: CountBody['run']): readonly Command[] {
  const entry = { name: 'count', summary: 'count things', examples: ['count m --data x'], arguments: { model: 'what' } }
  return [command({ ...entry, options, load: async () => ({ run }) })]
}

async function run(argv: readonly string[], table: readonly Command[], isTTY = false) {
  const signals = new EventEmitter()
  const written = { out: '', err: '' }
  const exits: number[] = []
  const sink = (name: 'out' | 'err') => ({ isTTY, columns: 80, write: (text: string) => (written[name] += text) })
  const code = await runCommandLine(argv, table, {
    out: sink('out'),
    err: sink('err'),
    env: {},
    signals,
    version: '1.2.3',
    now: () => 0,
    memory: () => 1e9,
    exit: (exitCode) => exits.push(exitCode),
  })
  return { code, ...written, signals, exits }
}

const done = async () => ({ value: { count: 3 }, text: 'three' })

async function* twoSteps(): AsyncGenerator<Progress, string, void> {
  for (let step = 1; step <= 2; step++) yield { phase: 'count', step, steps: 2, seconds: step }
  return 'counted'
}

test('a command gets its arguments and options as typed values, and absent options are left out', async () => {
  let seen: [Readonly<Record<'model', string>>, Values<typeof options>] | undefined
  const table = counting(async (context, args, values) => {
    assert.equal(context.seed, 7)
    assert.equal(context.commandLine, "hedgehog count m --data a 'b c' --seed 7")
    seen = [args, values]
    return done()
  })
  const { code, out, err } = await run(['count', 'm', '--data', 'a', 'b c', '--seed', '7'], table)
  assert.deepEqual([code, out, err], [0, 'three\n', ''])
  assert.deepEqual(seen, [{ model: 'm' }, { data: ['a', 'b c'], chunkSize: 64, force: false }])
})

test('a last argument may be left out', async () => {
  const seen: unknown[] = []
  const entry = { name: 'count', summary: 'count things', examples: ['count m'], arguments: { model: 'what' } }
  const body = async (_context: unknown, args: object) => {
    seen.push(args)
    return done()
  }
  const table = [command({ ...entry, last: { more: 'what else' }, options: {}, load: async () => ({ run: body }) })]
  for (const argv of [
    ['count', 'm'],
    ['count', 'm', 'n'],
  ])
    await run(argv, table)
  assert.deepEqual(seen, [{ model: 'm' }, { model: 'm', more: 'n' }])
  assert.match((await run(['count', '--help'], table)).out, /count \[options\] <MODEL> \[MORE\]/)
})

test('an option of several values may be repeated', async () => {
  const table = counting(async (_context, _args, { data }) => ({ value: data, text: '' }))
  const { out } = await run(['count', 'm', '--data', 'a', '--data', 'b', '--json'], table)
  assert.equal(out, '["a","b"]\n')
})

const wrong: readonly [string, RegExp][] = [
  ['cuont', /unknown command 'cuont'; did you mean count\?/],
  ['count m --dta x', /unknown option '--dta'; did you mean --data\?/],
  ['count m --data x --chunk-sise 2', /unknown option '--chunk-sise'; did you mean --chunk-size\?/],
  ['count m --data x --chunk-size 0', /--chunk-size: got '0', want a whole number of at least 1/],
  ['count m --data x --seed -1', /--seed: got '-1', want a whole number from 0/],
  ['count m --data', /argument missing/],
  ['count m', /count: --data is missing, want --data FILE/],
  ['count --data x', /missing required argument 'MODEL'/],
  ['count m n --data x', /too many arguments/],
]

for (const [line, message] of wrong) {
  test(`wrong usage ends with 2 and one line: hedgehog ${line}`, async () => {
    const { code, out, err } = await run(line.split(' '), counting(done))
    assert.equal(code, 2)
    assert.equal(out, '')
    assert.match(err, message)
    assert.match(err, /^hedgehog: [^\n]*\n$/)
  })
}

const failures: readonly [Error, number][] = [
  [new UsageError('bad folder'), 2],
  [new Error('no\n  disk'), 1],
  [new RangeError('too long'), 1],
  [new Interrupted('go on with: x'), 130],
]

for (const [error, exitCode] of failures) {
  test(`a body that throws ${error.name} ends with ${exitCode}, in one line unless --debug is given`, async () => {
    const fails = counting(async () => {
      throw error
    })
    const plain = await run(['count', 'm', '--data', 'x'], fails)
    assert.equal(plain.code, exitCode)
    assert.equal(plain.err, `hedgehog: ${error.message.replace('\n  ', ' ')}\n`)
    const debug = await run(['count', 'm', '--data', 'x', '--debug'], fails)
    assert.match(debug.err, /program\.test\.ts/)
  })
}

test('--json prints progress as lines and the result last, and nothing else', async () => {
  const table = counting(async (context) => {
    context.write('streamed')
    return { value: { result: await context.run(twoSteps()) }, text: 'for people' }
  })
  const { out, err } = await run(['count', 'm', '--data', 'x', '--json'], table, true)
  const lines = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.deepEqual(
    lines.map((line) => line.step ?? line.result),
    [1, 2, 'counted'],
  )
  assert.equal(err, '')
})

test('progress goes to stderr, streamed text and the result to stdout', async () => {
  const table = counting(async (context) => {
    context.write('streamed\n')
    return { value: 0, text: await context.run(twoSteps()) }
  })
  const { out, err } = await run(['count', 'm', '--data', 'x'], table)
  assert.equal(out, 'streamed\ncounted\n')
  assert.match(err, /count {2}2 steps in 2\.0s/)
  assert.equal((await run(['count', 'm', '--data', 'x', '--quiet'], table)).err, '')
})

test('the first Ctrl-C aborts the signal, the second exits with 130, and afterwards nobody listens', async () => {
  const exits: number[] = []
  const source = new EventEmitter()
  const table = counting(async ({ signal }) => {
    source.emit('SIGINT')
    assert.ok(signal.aborted)
    assert.deepEqual(exits, [])
    source.emit('SIGTERM')
    signal.throwIfAborted()
    return done()
  })
  const sink = { write: () => {} }
  const around = { out: sink, err: sink, env: {}, signals: source, version: '', now: () => 0, memory: () => 0 }
  const code = await runCommandLine(['count', 'm', '--data', 'x'], table, { ...around, exit: (c) => exits.push(c) })
  assert.deepEqual([code, exits], [130, [130]])
  assert.equal(source.listenerCount('SIGINT') + source.listenerCount('SIGTERM'), 0)
})

test('Ctrl-C reaches a job that never waits', async () => {
  const source = new EventEmitter()
  async function* endless(signal: AbortSignal): AsyncGenerator<Progress, never, void> {
    for (let step = 0; ; step++) {
      if (signal.aborted) throw new Interrupted(`stopped; go on with --resume`)
      yield { phase: 'count', step, steps: 1e9, seconds: 0 }
    }
  }
  const table = counting(async (context) => ({ value: await context.run(endless(context.signal)), text: '' }))
  const lines: string[] = []
  const err = { write: (text: string) => lines.push(text) }
  const around = { out: err, err, env: {}, signals: source, version: '', now: () => 0, memory: () => 0, exit: () => {} }
  setTimeout(() => source.emit('SIGINT'), 5)
  assert.equal(await runCommandLine(['count', 'm', '--data', 'x', '--quiet'], table, around), 130)
  assert.deepEqual(lines, [
    'stopping after this step; press Ctrl-C again to leave at once\n',
    'hedgehog: stopped; go on with --resume\n',
  ])
})

test('help is plain where stdout is no terminal, names every command, and loads none', async () => {
  const help = await run(['--help'], commands)
  assert.equal(help.code, 0)
  assert.ok(!help.out.includes('\x1b'))
  for (const { name, options: table, examples } of commands) {
    // A group stands for its members, e.g. `experiment` for `experiment run`.
    const words = name.split(' ')
    assert.match(help.out, new RegExp(`^ {2}${words[0]}\\b`, 'm'))
    const own = await run([...words, '--help'], commands)
    for (const key of Object.keys(table)) assert.ok(own.out.includes(`${flagOf(key)} `), key)
    for (const example of examples) assert.ok(own.out.includes(example))
  }
  assert.ok((await run(['--help'], commands, true)).out.includes('\x1b[1m'))
  assert.equal((await run(['--version'], commands)).out, '1.2.3\n')
})
