import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { trainBpe } from '../../src/io/bpe.ts'
import { chatTemplate, type Message } from '../../src/io/chatTemplate.ts'
import type { Source } from '../../src/io/files.ts'
import { tokenizerFrom } from '../../src/io/tokenizer.ts'
import { collected } from '../../src/tasks/examples.ts'
import {
  encodeInstruction,
  type InstructionFormat,
  type InstructionTokens,
  questionOf,
  readInstructions,
} from '../../src/tasks/instruction.ts'
import { fitInstructions, heldOutInstructions, instructionBatches } from '../../src/tasks/instructionBatches.ts'

const bpe = trainBpe(['the old house is old, the river is not; yes it is! User: Assistant:'], { vocabSize: 290 })
const marks = ['<|begin|>', '<|end|>'].map((content, i) => ({ ...bpe.added_tokens[0]!, content, id: 290 + i }))
const tokenizer = tokenizerFrom({ ...bpe, added_tokens: [...bpe.added_tokens, ...marks] })

const loop = (body: string) => `{% for m in messages %}${body}{% endfor %}`
const prompted = (text: string) => `{% if add_generation_prompt %}${text}{% endif %}`
const turns = chatTemplate(
  `${loop("{{ '<|begin|>' ~ m.role ~ '\\n' ~ m.content ~ '<|end|>\\n' }}")}${prompted("{{ '<|begin|>assistant\\n' }}")}`,
)
const marking = chatTemplate(
  loop(
    "<|begin|>{{ m.role ~ '\\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}" +
      "{{ '\\n' }}{% else %}{{ m.content ~ '<|end|>\\n' }}{% endif %}",
  ),
)
const user = (content: string): Message => ({ role: 'user', content })
const assistant = (content: string): Message => ({ role: 'assistant', content })

/** The texts of the runs of learned tokens. */
function learnedTexts({ ids, learned }: InstructionTokens): string[] {
  const runs: number[][] = []
  ids.forEach((id, i) => {
    if (!learned[i]) return
    if (!learned[i - 1]) runs.push([])
    runs.at(-1)!.push(id)
  })
  return runs.map((run) => tokenizer.decode(run))
}

const said = fc.stringMatching(/^[a-z ,.!]{0,12}[a-z]$/)
const talks = fc
  .tuple(fc.option(said), fc.array(fc.tuple(said, said), { minLength: 1, maxLength: 4 }))
  .map(([system, pairs]) => [
    ...(system === null ? [] : [{ role: 'system', content: system }]),
    ...pairs.flatMap(([question, answer]) => [user(question), assistant(answer)]),
  ])

describe('a conversation as tokens', () => {
  it('is the text of the template, and learns each answer with its end mark, and nothing else', () => {
    fc.assert(
      fc.property(talks, (messages) => {
        const answers = messages.filter(({ role }) => role === 'assistant').map(({ content }) => `${content}<|end|>`)
        for (const template of [turns, marking]) {
          const found = encodeInstruction({ messages }, { tokenizer, template })
          assert.equal(tokenizer.decode(found.ids), template.render(messages))
          assert.deepEqual(learnedTexts(found), answers)
          const last = encodeInstruction({ messages }, { tokenizer, template, answers: 'last' })
          assert.deepEqual(learnedTexts(last), answers.slice(-1))
          assert.deepEqual(last.ids, found.ids)
        }
      }),
      { numRuns: 30 },
    )
  })

  it('begins as the prompt does that is asked in use', () => {
    fc.assert(
      fc.property(talks, (messages) => {
        const { ids, learned } = encodeInstruction({ messages }, { tokenizer, template: turns, answers: 'last' })
        const { prompt, answer } = questionOf({ messages }, { template: turns })
        assert.deepEqual(ids.subarray(0, learned.indexOf(1)), tokenizer.encode(prompt))
        assert.equal(answer, messages.at(-1)!.content)
      }),
      { numRuns: 30 },
    )
  })

  it('ends after the last answer where that alone is learned', () => {
    const messages = [user('old'), assistant('yes'), user('not')]
    const found = encodeInstruction({ messages }, { tokenizer, template: turns, answers: 'last' })
    assert.equal(tokenizer.decode(found.ids), '<|begin|>user\nold<|end|>\n<|begin|>assistant\nyes<|end|>\n')
    assert.deepEqual(learnedTexts(found), ['yes<|end|>'])
  })

  it('without an end mark ends with the space that separates turns', () => {
    const template = chatTemplate(`${loop("{{ m.role }}:{{ ' ' ~ m.content ~ '\\n\\n' }}")}${prompted('assistant:')}`)
    const found = encodeInstruction(
      { messages: [user('old'), assistant('yes'), user('it'), assistant('is')] },
      { tokenizer, template },
    )
    // Two feeds at the very end; between turns the second may be one token with what follows.
    assert.deepEqual(
      learnedTexts(found).map((text) => text.trimEnd()),
      [' yes', ' is'],
    )
    for (const text of learnedTexts(found)) assert.match(text, /\n$/)
  })

  const refused: readonly (readonly [name: string, template: string, message: RegExp])[] = [
    [
      'writes an answer otherwise when others follow',
      `${loop("{{ m.role ~ ':' ~ (m.content if loop.last or m.role == 'user' else '...') ~ '<|end|>' }}")}${prompted('assistant:')}`,
      /f:1: message 2: the chat template writes it otherwise when others follow, got ".*", want ".*"; learn the last/,
    ],
    [
      'begins an answer another way than it asks for it',
      `${loop("{{ m.role ~ ':' ~ m.content ~ '<|end|>' }}")}${prompted('assistant: think')}`,
      /f:1: message 2: the chat template begins it another way than it asks for it/,
    ],
    [
      'asks with a space that is one token with the answer',
      `${loop("{{ m.role ~ ': ' ~ m.content ~ '<|end|>' }}")}${prompted("{{ 'assistant: ' }}")}`,
      /f:1: the prompt's last tokens change when the answer follows, got " " alone and " t.*" with it; let the prompt end/,
    ],
  ]
  for (const [name, text, message] of refused) {
    it(`whose template ${name} is refused`, () => {
      const messages = [user('old'), assistant('the old'), user('it'), assistant('the is')]
      const format: InstructionFormat = { tokenizer, template: chatTemplate(text) }
      assert.throws(() => encodeInstruction({ messages }, format, 'f:1'), { name: 'Error', message })
      if (!name.includes('follow')) return
      assert.deepEqual(learnedTexts(encodeInstruction({ messages }, { ...format, answers: 'last' })), ['the is<|end|>'])
    })
  }

  it('without an answer, or without a template, is refused', () => {
    const fails = (messages: readonly Message[], format: InstructionFormat, message: RegExp) =>
      assert.throws(() => encodeInstruction({ messages }, format, 'f:7'), { message })
    fails([user('a')], { tokenizer, template: turns }, /f:7: got messages of user, want one of the assistant/)
    fails([], { tokenizer, template: turns }, /f:7: got messages of nobody/)
    fails([assistant('a')], { tokenizer }, /f:7: messages need a chat template, got none; add chat_template\.jinja/)
    const silent = chatTemplate('{% generation %}{% endgeneration %}')
    fails([assistant('a')], { tokenizer, template: silent }, /f:7: the chat template writes no answer/)
    const calls = [user('a'), { role: 'assistant', content: null, tool_calls: [] }]
    assert.throws(
      () => questionOf({ messages: calls }, { template: turns }, 'f:7'),
      /f:7: message 2: got an answer that/,
    )
  })
})

describe('a prompt with a completion', () => {
  it('learns the completion and the end of text', () => {
    const found = encodeInstruction({ prompt: 'is the house old?', completion: ' yes it is' }, { tokenizer })
    assert.equal(tokenizer.decode(found.ids), 'is the house old? yes it is<|endoftext|>')
    assert.deepEqual(learnedTexts(found), [' yes it is<|endoftext|>'])
    const begun = encodeInstruction({ prompt: 'is', completion: ' yes' }, { tokenizer, beginIds: [290] })
    assert.equal(tokenizer.decode(begun.ids), '<|begin|>is yes<|endoftext|>')
    assert.deepEqual(learnedTexts(begun), [' yes<|endoftext|>'])
    assert.deepEqual(questionOf({ prompt: 'a', completion: 'b' }, {}), { prompt: 'a', answer: 'b' })
  })

  it('that share a token, or that has nothing to learn, is refused', () => {
    const fails = (prompt: string, completion: string, message: RegExp) =>
      assert.throws(() => encodeInstruction({ prompt, completion }, { tokenizer }, 'f:2'), { message })
    fails('is it ', 'the house', /f:2: the prompt's last tokens change .* got " " alone and " the" with it/)
    fails('is it', '', /f:2: got an empty completion/)
  })
})

describe('a file of instruction data', () => {
  const read = (text: string) => {
    const bytes = new TextEncoder().encode(text)
    const source: Source = {
      name: 'data',
      list: async () => ['a.jsonl'],
      size: async () => bytes.length,
      read: async (_, start, end) => bytes.subarray(start, end),
    }
    return collected(readInstructions(source, 'a.jsonl'))
  }

  it('has a conversation or a prompt with a completion on each line', async () => {
    const lines = [
      { messages: [user('a')], id: 3 },
      { prompt: 'p', completion: 'c', messages: 1 },
    ].map((x) => JSON.stringify(x))
    assert.deepEqual(await read(`${lines[0]}\n\n  \r\n${lines[1]}`), [
      { line: 1, where: 'data/a.jsonl:1', instruction: { messages: [user('a')] } },
      { line: 4, where: 'data/a.jsonl:4', instruction: { prompt: 'p', completion: 'c' } },
    ])
  })

  it('with another line is refused with its number', async () => {
    await assert.rejects(read('{"prompt":"a","completion":"b"}\n{'), /^Error: data\/a\.jsonl:2: is not JSON/)
    await assert.rejects(
      read('\n{"prompt":"a","answer":"b"}'),
      /a\.jsonl:2: got prompt, answer, want messages, or prompt and/,
    )
    await assert.rejects(read('7'), /a\.jsonl:1: got number, want/)
    await assert.rejects(read('null'), /a\.jsonl:1: got .*, want/)
    for (const message of ['{"role":"user"}', '{"content":"a"}', '3', 'null', '{"role":1,"content":"a"}']) {
      await assert.rejects(read(`{"messages":[${message}]}`), /a\.jsonl:1: message 1: got .*, want role and content/)
    }
  })
})

describe('batches of instruction data', () => {
  const example = fc
    .array(fc.tuple(fc.integer({ min: 1, max: 99 }), fc.boolean()), { minLength: 2, maxLength: 20 })
    .map(
      (all): InstructionTokens => ({
        ids: Int32Array.from(all, ([id]) => id),
        learned: Uint8Array.from(all, ([, learned], i) => Number(learned || i === 1)),
      }),
    )
  const examples = fc.array(example, { minLength: 3, maxLength: 12 })
  const shape = fc.record({ length: fc.integer({ min: 1, max: 22 }), batch: fc.integer({ min: 1, max: 3 }) })

  it('have, for each example, its tokens, and as labels the learned ones one place on', () => {
    fc.assert(
      fc.property(examples, shape, (all, { length, batch }) => {
        const rows = [...heldOutInstructions(all, { length, batch })].flatMap(({ ids, labels, keyMask }) => {
          const width = ids.shape[1]!
          assert.deepEqual([labels.shape, keyMask.shape], [ids.shape, ids.shape])
          return Array.from({ length: ids.shape[0]! }, (_, row) =>
            [ids, labels, keyMask].map(({ data }) => [...data.subarray(row * width, (row + 1) * width)]),
          )
        })
        assert.equal(rows.length, all.length)
        rows.forEach(([ids, labels, mask], i) => {
          const own = all[i]!
          const count = Math.min(length, own.ids.length - 1)
          const padding = Array.from({ length: ids!.length - count }, () => 0)
          assert.deepEqual(ids, [...own.ids.subarray(0, count), ...padding])
          assert.deepEqual(mask, [...Array.from({ length: count }, () => 1), ...padding])
          const wanted = Array.from({ length: count }, (_, at) => (own.learned[at + 1] ? own.ids[at + 1]! : -1))
          assert.deepEqual(labels, [...wanted, ...padding.map(() => -1)])
        })
      }),
    )
  })

  it('go on from a stored state as if they had never stopped', () => {
    fc.assert(
      fc.property(examples, shape, fc.nat(9), fc.nat(5), (all, options, seed, steps) => {
        const straight = instructionBatches(all, { ...options, seed })
        for (let i = 0; i < steps; i++) straight.next()
        const resumed = instructionBatches(all, { ...options, seed })
        resumed.next()
        resumed.restore(JSON.parse(JSON.stringify(straight.state())))
        for (let i = 0; i < 6; i++) assert.deepEqual(resumed.next(), straight.next())
      }),
    )
  })

  it('give an epoch each example at most once', () => {
    fc.assert(
      fc.property(examples, shape, (all, { length, batch }) => {
        const apart = all.map(({ ids, learned }, i) => ({ ids: ids.map((id, at) => (at === 0 ? i : id)), learned }))
        const stream = instructionBatches(apart, { length, batch, seed: 1 })
        const first: number[] = []
        for (let left = Math.floor(all.length / batch); left > 0; left--) {
          const { ids } = stream.next()
          for (let row = 0; row < batch; row++) first.push(ids.data[row * ids.shape[1]!]!)
        }
        assert.equal(new Set(first).size, first.length)
      }),
    )
  })

  it('cut examples that are too long, and leave out those whose answer is past the cut', () => {
    const tokens = (length: number, from: number): InstructionTokens => ({
      ids: Int32Array.from({ length }, (_, i) => i),
      learned: new Uint8Array(length).fill(1, from),
    })
    const {
      examples: kept,
      cut,
      dropped,
    } = fitInstructions([tokens(5, 2), tokens(9, 2), tokens(9, 6), tokens(6, 5)], 5)
    assert.deepEqual([kept.map(({ ids }) => ids.length), cut, dropped], [[5, 6, 6], 1, 1])
    assert.throws(() => instructionBatches([tokens(9, 6)], { length: 5, batch: 1, seed: 0 }), {
      name: 'RangeError',
      message: /got 0 examples with an answer within 5 tokens and 1 without, want at least 1/,
    })
    assert.throws(() => fitInstructions([], 0), /got length 0/)
  })
})
