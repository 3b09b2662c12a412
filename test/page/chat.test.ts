import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { chatTemplate } from '../../src/io/chatTemplate.ts'
import { loadWriting, type Writing } from '../../src/models/writing.ts'
import { openDevice } from '../../src/node/device.ts'
import { folderSource } from '../../src/node/files.ts'
import { openSession, type Session } from '../../src/page/chat/session.ts'
import type { ChatNews, Said } from '../../src/page/chat/types.ts'
import { mapSteps, withParams } from '../../src/page/worker/mapSteps.ts'
import type { Device } from '../../src/runtime/device.ts'

const models = (name: string) => folderSource(fileURLToPath(new URL(`../../models/${name}`, import.meta.url)))
const usual = { from: 0, text: 'The old man said', temperature: 0.8, topP: 0.95, seed: 0, maxTokens: 8 }

type Text = Extract<ChatNews, { kind: 'text' }>

/** All that a session writes; the signal aborts after so many pieces. */
async function written(session: Session, wish: Partial<typeof usual>, pieces = Infinity) {
  const control = new AbortController()
  const run = session.write({ ...usual, ...wish }, control.signal)
  const news: Text[] = []
  for (;;) {
    const next = await run.next()
    if (next.done) return { ...(next.value as Said), news, text: news.map(({ text }) => text).join('') }
    news.push(next.value as Text)
    if (news.length >= pieces) control.abort()
  }
}

describe('a session of writing', () => {
  let device: Device
  let converted: Writing
  let session: Session
  before(async () => {
    device = await openDevice('cpu')
    const writing = await loadWriting(models('tiny'))
    const { steps, read } = await mapSteps(models('tiny-maps'))
    const student = withParams(linearize(writing.model, 'hedgehog', random(0)), await read(steps.at(-1)!))
    converted = { ...writing, model: student }
    session = openSession(device, converted, () => performance.now() / 1000)
  })
  after(() => session.dispose())

  it('writes several continuations from one point, each by its seed', async () => {
    const [one, same, other] = [
      await written(session, {}),
      await written(session, {}),
      await written(session, { seed: 1 }),
    ]
    assert.equal(one.text, same.text)
    assert.notEqual(one.text, other.text)
    assert.notEqual(one.point, other.point)
    const on = { text: '', temperature: 0 }
    const again = await written(session, { ...on, from: one.point })
    assert.equal(again.text, (await written(session, { ...on, from: same.point })).text)
  })

  it('goes on where it ended, as if it had not', async () => {
    const greedy = { temperature: 0 }
    const whole = await written(session, { ...greedy, maxTokens: 12 })
    const begun = await written(session, { ...greedy, maxTokens: 5 })
    const rest = await written(session, { ...greedy, from: begun.point, text: '', maxTokens: 7 })
    assert.equal(begun.text + rest.text, whole.text)
    const left = await written(session, greedy, 3)
    assert.equal(left.ending, 'left')
    const after = await written(session, { ...greedy, from: left.point, text: '', maxTokens: 9 })
    assert.equal(left.text + after.text, whole.text)
  })

  it('tells a state of constant size beside a cache that grows', async () => {
    const { news } = await written(session, {})
    const [first, last] = [news[0]!, news.at(-1)!]
    assert.equal(first.memory.stateBytes, last.memory.stateBytes)
    assert.ok(last.memory.tokens > first.memory.tokens)
    assert.equal(last.memory.cacheBytesPerToken, 2 * 4 * 4 * 256)
    assert.equal(last.speed.written, 8)
    const softmax = openSession(device, await loadWriting(models('tiny')), () => 0)
    const kept = await written(softmax, { maxTokens: 1 })
    const { tokens, stateBytes, cacheBytesPerToken } = kept.news.at(-1)!.memory
    assert.ok(stateBytes >= tokens * cacheBytesPerToken)
    await softmax.dispose()
  })

  it('talks by the template that a model has, and to its end', async () => {
    const template = chatTemplate('{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:')
    const talking = openSession(device, { ...converted, template, templateStops: [] }, () => 0)
    assert.equal(talking.met.talks, true)
    const answer = await written(talking, { text: 'Hello' })
    assert.ok(answer.text.length > 0)
    const next = await written(talking, { text: 'And then?', from: answer.point })
    assert.ok(next.news[0]!.memory.tokens > answer.news.at(-1)!.memory.tokens)
    await assert.rejects(written(talking, { text: ' ' }), /There is nothing to answer/)
    await talking.dispose()
  })

  it('says when there is no text, no room, or the point is gone', async () => {
    await assert.rejects(written(session, { text: '' }), /There is no text to go on from/)
    await assert.rejects(written(session, { text: 'the '.repeat(300) }), /The model has 256 positions/)
    await assert.rejects(written(session, { from: 999 }), /too long ago/)
    const full = await written(session, { text: 'the '.repeat(126), maxTokens: 500 })
    await assert.rejects(written(session, { from: full.point, text: ' and then' }), /The model has 256 positions/)
  })
})
