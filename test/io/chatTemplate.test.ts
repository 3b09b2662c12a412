import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { chatTemplate, loadChatTemplate, type Message } from '../../src/io/chatTemplate.ts'
import type { Source } from '../../src/io/files.ts'

interface Rendered {
  readonly template: string
  readonly conversation: string
  readonly error?: string
  readonly plain: string
  readonly prompted: string
  readonly answers: readonly string[]
}
interface Golden {
  readonly variables: Readonly<Record<string, string>>
  readonly templates: Readonly<Record<string, string>>
  readonly conversations: Readonly<Record<string, readonly Message[]>>
  readonly rendered: readonly Rendered[]
}
const golden: Golden = JSON.parse(readFileSync(new URL('../fixtures/chat.json', import.meta.url), 'utf8'))
const talk: readonly Message[] = golden.conversations.one!

/** A folder in memory. */
function folder(files: Readonly<Record<string, string>>): Source {
  const bytes = (path: string) => new TextEncoder().encode(files[path]!)
  return {
    name: 'model',
    list: async () => Object.keys(files).sort(),
    size: async (path) => bytes(path).length,
    read: async (path, start, end) => bytes(path).subarray(start, end),
  }
}

describe('a chat template', () => {
  for (const want of golden.rendered) {
    it(`${want.template} writes ${want.conversation} as transformers does`, () => {
      const template = chatTemplate(golden.templates[want.template]!, { specialTokens: golden.variables })
      const messages = golden.conversations[want.conversation]!
      if (want.error !== undefined) {
        assert.throws(() => template.render(messages), { message: `chat template:3: ${want.error}` })
        return
      }
      assert.equal(template.render(messages), want.plain)
      assert.equal(template.render(messages, { addGenerationPrompt: true }), want.prompted)
      const { text, answers } = template.renderMarked(messages)
      assert.equal(text, want.plain)
      assert.deepEqual(
        answers.map(({ start, end }) => text.slice(start, end)),
        want.answers,
      )
      assert.equal(template.marksAnswers, want.template.startsWith('generation'))
    })
  }

  it('writes what people said as it is, whatever marks it has', () => {
    const template = chatTemplate('{% for m in messages %}<{{ m.content }}>{% endfor %}')
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (contents) => {
        const messages = contents.map((content) => ({ role: 'user', content }))
        assert.equal(template.render(messages), contents.map((content) => `<${content}>`).join(''))
      }),
    )
  })

  it('is told variables, and a day only where one is given', () => {
    const dated =
      "{{ strftime_now('%d %b %Y, %A %B %H:%M:%S %y %m %a %% %q') if strftime_now is defined else 'no day' }}"
    const date = new Date(Date.UTC(2024, 2, 5, 7, 8, 9))
    assert.equal(chatTemplate(dated).render([]), 'no day')
    assert.equal(chatTemplate(dated).render([], { date }), '05 Mar 2024, Tuesday March 07:08:09 24 03 Tue % %q')
    assert.equal(chatTemplate('{{ tools[0] }}{{ x }}').render([], { variables: { tools: ['a'], x: 3 } }), 'a3')
  })

  const faults: readonly (readonly [name: string, text: string, message: string])[] = [
    ['an unknown statement', 'a\n\n{% jump %}', '3: Unknown statement type: jump'],
    ['an end without a beginning', 'a\n{% endif %}', '2: Unknown statement type: endif'],
    ['a block without an end', 'a\n{% if x %}\nb\n{% for y in x %}{% endfor %}', '2: if has no end'],
    ['a set block without an end', '\n\n{% set x %}a', '3: set has no end'],
    ['two values in a row', '{% set a = 1 %}\n{{ 1 2 }}\n', '2: Expected closing expression token'],
    ['a strange character', '{{ "{{" }}\n\n{{ a @ }}', '3: Unexpected character: @'],
    ['a strange escape', "{# {{\n #}\n{{ 'x\\q' }}", '3: Unexpected escaped character: q'],
    ['a tag without an end', '{{ a }}\n\n text {{ b ', '3: Unexpected end of input'],
    ['a comment without an end', '\n{# b ', '2: Missing end of comment tag'],
  ]
  for (const [name, text, message] of faults) {
    it(`with ${name} is refused with file and line`, () => {
      assert.throws(
        () => chatTemplate(text, { where: 'm/chat_template.jinja' }),
        ({ message: got }: Error) => got.startsWith(`m/chat_template.jinja:${message}`) && !got.includes('\n'),
      )
    })
  }

  const failures: readonly (readonly [name: string, text: string, message: string])[] = [
    ['refuses', "a\n{% for m in messages %}\n\n{{ raise_exception('no ' ~ m.role) }}{% endfor %}", '4: no user'],
    ['calls what is no function', '{{ a }}\n{{ nope() }}', '2: Cannot call something that is not a function'],
    ['fails in elif', '{% if a %}\n{{ 1 }}\n{% elif none + 1 %}\n{% endif %}', '3: Cannot perform operation on null'],
    ['fails in a long tag', "{{ 1 }}\n{{ {'a': {}} }}\n{{\n 1 + none }}", '3: Cannot perform operation on null values'],
    [
      'fails after generation tags',
      '{% generation %}\n{{ 1 }}\n{% endgeneration %}\n{{ 1 + none }}',
      '4: Cannot perform',
    ],
    ['asks for a clock', "{{ 1 }}\n{{ strftime_now('%d') }}", '2: Cannot call something that is not a function'],
  ]
  for (const [name, text, message] of failures) {
    it(`that ${name} names file and line`, () => {
      const template = chatTemplate(text, { where: 'm/chat_template.jinja' })
      assert.throws(
        () => template.render(talk),
        ({ message: got }: Error) => got.startsWith(`m/chat_template.jinja:${message}`),
      )
    })
  }

  it('whose generation tags do not take turns is refused', () => {
    for (const text of ['{% generation %}a', '{% endgeneration %}{% generation %}']) {
      assert.throws(() => chatTemplate(text).render(talk), /generation and endgeneration do not take turns/)
    }
  })
})

describe('the chat template of a folder', () => {
  const config = (value: object) => JSON.stringify({ bos_token: '<s>', eos_token: { content: '</s>' }, ...value })
  const load = (files: Readonly<Record<string, string>>) => loadChatTemplate(folder(files))

  it('is chat_template.jinja, else that of tokenizer_config.json, with its special tokens', async () => {
    const text = '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token }}'
    const inConfig = { 'tokenizer_config.json': config({ chat_template: text, pad_token: null }) }
    assert.equal((await load(inConfig)).render(talk), '<s>Hello?</s>')
    const inFile = { ...inConfig, 'chat_template.jinja': `file ${text}` }
    assert.equal((await load(inFile)).render(talk), 'file <s>Hello?</s>')
    assert.equal((await load({ 'chat_template.jinja': text })).render(talk), 'Hello?')
  })

  it('of several in tokenizer_config.json is the one named default', async () => {
    const named = [
      { name: 'tools', template: 'tools' },
      { name: 'default', template: 'default' },
    ]
    assert.equal((await load({ 'tokenizer_config.json': config({ chat_template: named }) })).render(talk), 'default')
    await assert.rejects(
      load({ 'tokenizer_config.json': config({ chat_template: named.slice(0, 1) }) }),
      /^Error: model\/tokenizer_config\.json: chat_template: got tools, want a text or a list with one named default$/,
    )
  })

  it('that is missing or broken is named with its file', async () => {
    const none = /^Error: model: has no chat template, want chat_template\.jinja or chat_template in tokenizer_config/
    await assert.rejects(load({}), none)
    await assert.rejects(load({ 'tokenizer_config.json': config({ chat_template: null }) }), none)
    await assert.rejects(load({ 'tokenizer_config.json': '{' }), /model: tokenizer_config\.json: is not JSON/)
    await assert.rejects(load({ 'tokenizer_config.json': '[]' }), /want a JSON object/)
    const broken = config({ chat_template: 'a\n{% x %}' })
    await assert.rejects(load({ 'tokenizer_config.json': broken }), /tokenizer_config\.json: chat_template:2: Unknown/)
    await assert.rejects(load({ 'chat_template.jinja': '{% x %}' }), /model\/chat_template\.jinja:1: Unknown/)
  })
})
