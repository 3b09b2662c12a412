import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { commands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import { day } from '../../src/cli/readers.ts'
import { tokenLines } from '../../src/cli/tokenView.ts'

let folder = ''
const at = (name: string) => join(folder, name)

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-preview-'))
  for (const file of ['config.json', 'tokenizer.json']) await cp(`models/tiny/${file}`, at(file))
  const turn = "{{ m.role ~ ':' ~ m.content ~ '<|endoftext|>\\n' }}"
  const day = "{{ strftime_now('%Y') if strftime_now is defined }}"
  const prompt = '{% if add_generation_prompt %}assistant:{% endif %}'
  await writeFile(at('chat_template.jinja'), `${day}{% for m in messages %}${turn}{% endfor %}${prompt}`)
  const messages = ['user', 'assistant', 'user', 'assistant'].map((role, i) => ({ role, content: ` the ${i}` }))
  const lines = [{ messages }, { prompt: 'is it old?', completion: ' the' }]
  await writeFile(at('chats.jsonl'), `${lines.map((line) => JSON.stringify(line)).join('\n\n')}\n`)
})
after(() => rm(folder, { recursive: true, force: true }))

async function preview(argv: readonly string[], isTTY = false) {
  const written = { out: '', err: '' }
  const sink = (name: 'out' | 'err') => ({ isTTY, columns: 80, write: (text: string) => (written[name] += text) })
  const code = await runCommandLine(['data', 'preview', ...argv, '--quiet'], commands, {
    out: sink('out'),
    err: sink('err'),
    env: {},
    signals: new EventEmitter(),
    version: '1.2.3',
    now: () => 0,
    memory: () => 0,
    exit: () => {},
  })
  return { code, ...written }
}

describe('hedgehog data preview', () => {
  it('shows which tokens are learned, in brackets where there are no colours', async () => {
    const { code, out, err } = await preview([at('chats.jsonl'), '--model', folder])
    assert.deepEqual([code, err], [0, ''])
    const lines = out.split('\n')
    assert.match(lines[0]!, /chats\.jsonl:1: \d+ tokens, 6 learned$/)
    assert.equal(lines.filter((line) => line.endsWith(':[ the][ 1][<|endoftext|>]↵')).length, 1)
    assert.ok(out.includes('[ the][<|endoftext|>]'))
    assert.match(out, /chats\.jsonl:3: /)
    assert.match(lines.at(-2)!, /^2 examples, \d+ tokens, 8 learned \(\d+ %\), longest \d+$/)
    assert.ok(!out.includes('\x1b'))
  })

  it('shows them in colour in a terminal', async () => {
    const { out } = await preview([at('chats.jsonl'), '--model', folder, '--count', '1'], true)
    assert.ok(['1', '2'].some((weight) => out.includes(`\x1b[${weight}m\x1b[32m the\x1b[0m`)))
    assert.ok(!out.includes('[ the]') && !out.includes(':3:'))
  })

  it('prints ids, texts and the mask as JSON', async () => {
    const argv = [at('chats.jsonl'), '--model', folder, '--json', '--answers', 'last', '--date', '2031-02-03']
    const { out } = await preview(argv)
    const { shown, ...summary } = JSON.parse(out.trimEnd().split('\n').at(-1)!)
    const texts = (learned: boolean) =>
      shown[0].tokens.flatMap((token: { text: string; learned: boolean }) =>
        token.learned === learned ? token.text : [],
      )
    assert.deepEqual(texts(true), [' the', ' 3', '<|endoftext|>'])
    assert.ok(texts(false).join('').startsWith('2031user: the 0'))
    assert.deepEqual([summary.examples, summary.learned, summary.tooLong, shown[1].line], [2, 5, 0, 3])
    assert.ok(shown[0].tokens.every(({ id }: { id: number }) => Number.isInteger(id)))
  })

  it('says what is wrong with a line, a template or a day', async () => {
    const fails = async (argv: readonly string[], code: number, message: RegExp) => {
      const found = await preview(argv)
      assert.match(found.err, message)
      assert.deepEqual([found.code, found.out, found.err.trimEnd().split('\n').length], [code, '', 1])
    }
    await writeFile(at('empty.jsonl'), '\n')
    await writeFile(at('other.jsonl'), '\n{"question":"a"}\n')
    await writeFile(at('space.jsonl'), '{"prompt":"is it ","completion":"the"}')
    const model = ['--model', folder]
    await fails([at('empty.jsonl'), ...model], 1, /empty\.jsonl: is empty, want JSON lines/)
    await fails(
      [at('other.jsonl'), ...model],
      1,
      /other\.jsonl:2: got question, want messages, or prompt and completion/,
    )
    await fails([at('space.jsonl'), ...model], 1, /space\.jsonl:1: the prompt's last tokens change/)
    await fails([at('chats.jsonl'), '--model', 'models/tiny'], 1, /models\/tiny: has no chat template/)
    await fails([at('chats.jsonl'), ...model, '--date', '2031-02-30'], 2, /--date: got '2031-02-30', want a day like/)
    await fails([at('missing.jsonl'), ...model], 1, /missing\.jsonl/)
  })
})

describe('drawn tokens', () => {
  const tokens = fc.array(fc.record({ text: fc.string({ unit: 'grapheme', maxLength: 12 }), learned: fc.boolean() }))

  it('fit into the columns, keep every letter, and steer no terminal', () => {
    fc.assert(
      fc.property(tokens, fc.integer({ min: 4, max: 30 }), (all, columns) => {
        for (const line of tokenLines(all, { columns, colours: false })) {
          assert.ok(!/[\p{Cc}\u2028-\u202e]/u.test(line))
          assert.ok([...line].filter((character) => !/[\p{M}\u200d]/u.test(character)).length <= columns, line)
        }
        const plain = all.filter(({ text }) => /^[a-z]+$/.test(text))
        const drawn = tokenLines(plain, { columns, colours: false })
          .join('')
          .replace(/[[\]·]/g, '')
        assert.equal(drawn, plain.map(({ text }) => text).join(''))
      }),
    )
  })

  it('count two columns for letters of East Asia and emoji, and none for marks on letters', () => {
    const draw = (text: string) => tokenLines([{ text, learned: false }], { columns: 4, colours: false })
    assert.deepEqual(draw('日本語'), ['日本', '語'])
    assert.deepEqual(draw('e\u0301e\u0301e\u0301e\u0301'), ['e\u0301e\u0301e\u0301e\u0301'])
    assert.deepEqual(draw('🙂🙂🙂'), ['🙂🙂', '🙂'])
    assert.deepEqual(draw('\u202e\t'), ['<202', 'e>→'])
  })
})

it('a day is one of the calendar', () => {
  assert.equal(day.read('2024-02-29')?.getTime(), Date.UTC(2024, 1, 29))
  for (const bad of ['2023-02-29', '2024-2-9', 'today', '2024-13-01', '']) assert.equal(day.read(bad), undefined)
})
