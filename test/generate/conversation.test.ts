import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import fc from 'fast-check'
import { planNamed } from '../../src/attention/plan.ts'
import { random } from '../../src/base/random.ts'
import { type Answered, type Point, type Speaker, say, startConversation } from '../../src/generate/conversation.ts'
import { createGenerator, type Generator } from '../../src/generate/state.ts'
import { writeText } from '../../src/generate/writeText.ts'
import { newModel } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { device } from '../tensors.ts'

/** One letter is one token, so that a text has only one way to be cut. */
const letters = 'abcdefghij'
const encode = (text: string) => Array.from(text, (letter) => letters.indexOf(letter))
const decode = (ids: readonly number[]) => ids.map((id) => letters[id]).join('')

function generatorOf(name: string): Generator {
  const sizes = { layers: 2, heads: 2, width: 10, vocab: letters.length, maxLength: 150 }
  const model = newModel(gpt2.configOf({ ...sizes, attention: planNamed(name) }), random(1))
  for (const [path, { data }] of Object.entries(model.params)) {
    if (/weight$/.test(path) && !/ln|feature/.test(path)) for (let i = 0; i < data.length; i++) data[i]! *= 8
  }
  const generator = createGenerator(device, model)
  after(() => generator.dispose())
  return generator
}

/** Counts the tokens that a generator reads. */
function counting(generator: Generator) {
  let read = 0
  const counted: Generator = {
    ...generator,
    advance(state, ids, options) {
      read += ids.data.length
      return generator.advance(state, ids, options)
    },
  }
  return { counted, read: () => read }
}

const speakerOf = (generator: Generator, stopTexts: readonly string[]): Speaker => ({
  generator,
  encode,
  decode,
  template: {
    render: (messages, { addGenerationPrompt = false } = {}) =>
      messages.map(({ role, content }) => `${role === 'user' ? 'i' : 'j'}${content}`).join('') +
      (addGenerationPrompt ? 'j' : ''),
  },
  endIds: [],
  stopTexts,
})

async function answer(run: ReturnType<typeof say>): Promise<Answered & { readonly text: string }> {
  let text = ''
  for (;;) {
    const next = await run.next()
    if (next.done) return { ...next.value, text }
    text += next.value.text
  }
}

const word = (maxLength: number) => fc.string({ unit: fc.constantFrom(...'abcdefgh'), minLength: 1, maxLength })

describe('a conversation', () => {
  for (const name of ['hedgehog-exp', 'softmax']) {
    const generator = generatorOf(name)

    it(`with ${name} gives the answers that it would give if all were read again, whatever ended those before`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(word(6), { minLength: 2, maxLength: 4 }),
          fc.array(word(3), { maxLength: 2 }),
          async (said, stops) => {
            const speaker = speakerOf(generator, stops)
            const options = { maxTokens: 12, temperature: 1 }
            let point = startConversation(generator)
            for (const [turn, content] of said.entries()) {
              const message = { role: 'user', content }
              const went = await answer(say(speaker, point, message, { ...options, random: random(turn) }))
              const anew = startConversation(generator, point.messages)
              const again = await answer(say(speaker, anew, message, { ...options, random: random(turn) }))
              assert.equal(went.text, again.text)
              assert.deepEqual([went.ending, went.point.messages], [again.ending, again.point.messages])
              assert.equal(went.point.messages.at(-1)!.content, went.text)
              point = went.point
            }
          },
        ),
        { numRuns: 8 },
      )
    })
  }

  const plain = generatorOf('hedgehog-softmax')

  it('reads only what is new, also when a message is said in another way or answered again', async () => {
    const { counted, read } = counting(plain)
    const speaker = speakerOf(counted, [])
    const said = async (point: Point, content: string) => {
      const before = read()
      const found = await answer(say(speaker, point, { role: 'user', content }, { maxTokens: 5, temperature: 0 }))
      return { ...found, tokens: read() - before }
    }
    const first = await said(startConversation(counted), 'abcdefgh'.repeat(4))
    assert.equal(first.tokens, 34 + 4)
    const second = await said(first.point, 'abc')
    // The last token of the answer before, the message with its two marks, and four of the answer's five.
    assert.equal(second.tokens, 1 + 5 + 4)
    assert.deepEqual([(await said(first.point, 'abc')).tokens, (await said(first.point, 'hh')).tokens], [10, 9])
  })

  it('is kept as far as it went when it is left, and can go on', async () => {
    const speaker = speakerOf(plain, [])
    const controller = new AbortController()
    const run = say(
      speaker,
      startConversation(plain),
      { role: 'user', content: 'abc' },
      { temperature: 0, signal: controller.signal },
    )
    const texts: string[] = []
    let end: Answered | undefined
    for (let next = await run.next(); ; next = await run.next()) {
      if (next.done) {
        end = next.value
        break
      }
      texts.push(next.value.text)
      if (texts.length === 3) controller.abort()
    }
    assert.equal(end.ending, 'left')
    assert.equal(end.point.messages.at(-1)!.content, texts.join(''))
    const more = await answer(say(speaker, end.point, { role: 'user', content: 'd' }, { temperature: 0, maxTokens: 4 }))
    const anew = startConversation(plain, end.point.messages)
    const again = await answer(say(speaker, anew, { role: 'user', content: 'd' }, { temperature: 0, maxTokens: 4 }))
    assert.equal(more.text, again.text)
  })

  it('answers no more than there is room for, and says when there is none', async () => {
    const speaker = speakerOf(plain, [])
    const almost = await answer(
      say(speaker, startConversation(plain), { role: 'user', content: 'a'.repeat(140) }, { temperature: 0 }),
    )
    assert.equal(almost.text.length, 150 - 142 + 1)
    const full = say(speaker, almost.point, { role: 'user', content: 'a' }, { temperature: 0 })
    await assert.rejects(() => full.next(), /tokens of prompt and 1 more need 15\d positions, want at most 150/)
  })

  it('is left before the first token with the reason of the signal', async () => {
    const signal = AbortSignal.abort(new Error('not now'))
    const run = writeText(plain, decode, encode('abc'), { temperature: 0, signal })
    await assert.rejects(() => run.next(), /not now/)
  })
})
