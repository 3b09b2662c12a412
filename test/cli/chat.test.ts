import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { after, describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import { commands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import { newModel } from '../../src/models/families.ts'
import { saveModel } from '../../src/models/folder.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { folderSink } from '../../src/node/files.ts'

const folder = await mkdtemp(join(tmpdir(), 'hedgehog-chat-'))
after(() => rm(folder, { recursive: true }))

/** The smallest model that can talk, with the bundled tokenizer. */
const sizes = { layers: 1, heads: 2, width: 8, vocab: 4096, maxLength: 256 }
const model = newModel(gpt2.configOf({ ...sizes, attention: { kind: 'linear', map: 'elu' } }), random(1))
for (const { data } of Object.values(model.params)) for (let i = 0; i < data.length; i++) data[i]! *= 20
await saveModel(folderSink(folder), model, {
  tokenizer: JSON.parse(await readFile('models/tiny/tokenizer.json', 'utf8')),
})

/** A line that is typed, or what is done once some text has been written after it. */
type Step = string | { readonly when: RegExp; readonly react: (signals: EventEmitter) => void }

/** Types lines, and gives all that was written. */
async function chat(steps: readonly Step[], ...argv: readonly string[]) {
  const signals = new EventEmitter()
  const input = new PassThrough()
  const written = { out: '', err: '' }
  const reactions = steps.filter((step) => typeof step !== 'string')
  for (const step of steps) if (typeof step === 'string') input.write(`${step}\n`)
  input.end()
  const code = await runCommandLine(['chat', folder, '--tokens', '6', ...argv], commands, {
    out: {
      write(text) {
        written.out += text
        const reaction = reactions[0]
        if (!reaction?.when.test(written.out)) return
        reactions.shift()
        reaction.react(signals)
      },
    },
    err: { write: (text) => (written.err += text) },
    env: {},
    signals,
    lines: { input, output: new PassThrough() },
    version: '1.2.3',
    now: () => 0,
    memory: () => 0,
    exit: () => {},
  })
  return { code, ...written, lines: written.out.split('\n') }
}

/** The messages at the end of a conversation. */
async function messages(steps: readonly Step[], ...argv: readonly string[]) {
  const { out } = await chat(steps, '--json', ...argv)
  return JSON.parse(out.trim().split('\n').at(-1)!).messages as { role: string; content: string }[]
}

const greedy = ['--temperature', '0']

describe('hedgehog chat', () => {
  it('answers each message, several lines being one', async () => {
    const found = await messages(
      ['Good morning', 'What a\\', 'day', '"""', 'It is', 'late"""'],
      '--system',
      'Be brief.',
      ...greedy,
    )
    assert.deepEqual(
      found.filter(({ role }) => role !== 'assistant').map(({ content }) => content),
      ['Be brief.', 'Good morning', 'What a\nday', 'It is\nlate'],
    )
    assert.equal(found.length, 7)
  })

  it('answers anew, says a message in another way, and takes one back', async () => {
    const again = await messages(['One', '/again', '/again'])
    assert.equal(again.length, 2)
    const edited = await messages(['One', 'Two', '/edit Three'], ...greedy)
    assert.deepEqual(edited, await messages(['One', 'Three'], ...greedy))
    const undone = await messages(['One', 'Two', '/undo', 'Three'], ...greedy)
    assert.deepEqual(undone, edited)
  })

  it('comes back to a point with a name, and begins anew', async () => {
    const want = await messages(['One', 'Three'], ...greedy)
    assert.deepEqual(
      await messages(['One', '/fork here', 'Two', '/reset', 'Four', '/back here', 'Three'], ...greedy),
      want,
    )
    const [system, ...rest] = await messages(['One', '/reset'], '--system', 'Be brief.')
    assert.deepEqual([system!.content, rest], ['Be brief.', []])
  })

  it('saves a conversation with its state, and goes on from it', async () => {
    const file = join(folder, 'talk.safetensors')
    const want = await messages(['One', 'Two'], ...greedy)
    await chat(['One', `/save ${file}`], ...greedy)
    assert.deepEqual(await messages([`/load ${file}`, 'Two'], ...greedy), want)
    assert.deepEqual(await messages(['Two'], '--load', file, ...greedy), want)
  })

  it('says what is wrong with a command, and goes on', async () => {
    const bad = join(folder, 'bad.safetensors')
    await writeFile(bad, await readFile('package.json'))
    const { out, code } = await chat([
      '/nope',
      '/back there',
      '/fork',
      '/undo',
      '/save',
      `/load ${bad}`,
      '/help',
      '/quit',
      'never',
    ])
    assert.equal(code, 0)
    for (const message of [
      /\/nope: is no command; \/help lists them/,
      /\/back: got 'there', want one of none/,
      /\/fork: want a name/,
      /there is no message to go back before/,
      /\/save: want a file/,
      /bad\.safetensors: header of/,
      /\/again +answer the last message anew/,
    ])
      assert.match(out, message)
    assert.doesNotMatch(out, /never/)
  })

  it('stops the answer at Ctrl-C and not the conversation, which keeps what was said', async () => {
    const once = { when: /\w/, react: (signals: EventEmitter) => void signals.emit('SIGINT') }
    const { out, code } = await chat(['One', once, '/quit'], '--tokens', '200', ...greedy)
    assert.equal(code, 0)
    assert.match(out, /\w+\n\(left here\)\n/)
  })

  it('says when there is no more room, and stays usable', async () => {
    const { out } = await chat([`${'word '.repeat(300)}`, '/reset', 'Hi'], ...greedy)
    assert.match(out, /tokens of prompt and 1 more need \d+ positions, want at most 256/)
    assert.match(out.trim().split('\n').at(-1)!, /\w/)
  })
})
