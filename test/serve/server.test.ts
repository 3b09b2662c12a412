import assert from 'node:assert/strict'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { after, describe, it } from 'node:test'
import OpenAI from 'openai'
import { random } from '../../src/base/random.ts'
import { generate } from '../../src/generate/generate.ts'
import { createGenerator } from '../../src/generate/state.ts'
import { startEngine } from '../../src/serve/engine.ts'
import { device } from '../tensors.ts'
import { student, studentEngine, studentServer, tokenizer } from './tiny.ts'

const engine = await studentEngine()
const server = await studentServer(engine)
const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
const generator = createGenerator(device, student)
after(async () => {
  await server.close(1)
  await engine.close()
  await generator.dispose()
})

const model = 'student'
const greedy = { model, temperature: 0, max_tokens: 12 } as const

/** What the model writes alone. */
async function alone(prompt: string, { tokens = 12, temperature = 0, seed = 0, choice = 0 } = {}) {
  const ids = [...tokenizer.encode(prompt)]
  const written: number[] = []
  const draws = random(seed).split(choice)
  for await (const { id } of generate(generator, ids, { temperature, maxTokens: tokens, random: draws }))
    written.push(id)
  return tokenizer.decode(written)
}

async function post(body: unknown, { path = '/v1/completions', url = server.url, headers = {} } = {}) {
  const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
  const sent = { 'content-type': 'application/json', ...headers }
  const response = await fetch(`${url}${path}`, { method: 'POST', headers: sent, body: text as string })
  return { status: response.status, headers: response.headers, json: await response.json() }
}

describe('the official client', () => {
  it('finds the model', async () => {
    assert.deepEqual(
      (await openai.models.list()).data.map(({ id }) => id),
      [model],
    )
    assert.equal((await openai.models.retrieve(model)).id, model)
    await assert.rejects(() => openai.models.retrieve('other'), OpenAI.NotFoundError)
  })

  it('gets of each text what the model writes alone, greedy and by seed', async () => {
    const prompts = ['The old house', 'In the morning', ' a']
    const answer = await openai.completions.create({ ...greedy, prompt: prompts })
    const want = await Promise.all(prompts.map((prompt) => alone(prompt)))
    assert.deepEqual(
      answer.choices.map(({ text }) => text),
      want,
    )
    assert.deepEqual(
      answer.choices.map(({ index, finish_reason }) => [index, finish_reason]),
      [0, 1, 2].map((index) => [index, 'length']),
    )
    assert.equal(answer.usage!.completion_tokens, 36)
    const sampled = await openai.completions.create({ model, prompt: prompts[0]!, max_tokens: 9, seed: 7, n: 3 })
    for (const { index, text } of sampled.choices) {
      assert.equal(text, await alone(prompts[0]!, { tokens: 9, temperature: 1, seed: 7, choice: index }))
    }
    assert.equal(sampled.usage!.prompt_tokens, tokenizer.encode(prompts[0]!).length)
  })

  it('gets the same in a stream, whole characters at a time, and the numbers of tokens at its end', async () => {
    const whole = await openai.completions.create({ ...greedy, prompt: 'The old house', echo: true })
    const stream = await openai.completions.create({
      ...greedy,
      prompt: 'The old house',
      echo: true,
      stream: true,
      stream_options: { include_usage: true },
    })
    let [text, pieces] = ['', 0]
    let last: OpenAI.Completion | undefined
    for await (const piece of stream) {
      text += piece.choices[0]?.text ?? ''
      pieces += 1
      last = piece
    }
    assert.equal(text, whole.choices[0]!.text)
    assert.ok(text.startsWith('The old house') && pieces > 5)
    assert.deepEqual({ ...last!.usage, prompt_tokens_details: 0 }, { ...whole.usage, prompt_tokens_details: 0 })
  })

  it('talks, whole and in a stream', async () => {
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: 'Good morning!' }] },
    ] as const
    const asked = { ...greedy, messages: messages as unknown as OpenAI.ChatCompletionMessageParam[] }
    const whole = await openai.chat.completions.create({ ...asked, logprobs: true, top_logprobs: 2 })
    const [choice] = whole.choices
    assert.equal(choice!.message.content, await alone('System: Be brief.\n\nUser: Good morning!\n\nAssistant:'))
    assert.equal(choice!.logprobs!.content!.length, 12)
    assert.equal(choice!.logprobs!.content!.map(({ token }) => token).join(''), choice!.message.content)
    assert.ok(
      choice!.logprobs!.content!.every(
        ({ top_logprobs: top, logprob }) => top.length === 2 && top[0]!.logprob === logprob,
      ),
    )
    let text = ''
    for await (const piece of await openai.chat.completions.create({ ...asked, stream: true })) {
      text += piece.choices[0]?.delta.content ?? ''
    }
    assert.equal(text, choice!.message.content)
  })

  it('gets text up to a stop string, and no token of it', async () => {
    const prompt = 'The old house'
    const full = await alone(prompt, { tokens: 40 })
    // A piece of the text that no token begins or ends with the bounds of.
    const stop = full.slice(20, 25)
    const { choices } = await openai.completions.create({ ...greedy, prompt, max_tokens: 40, stop, logprobs: 0 })
    assert.equal(choices[0]!.text, full.slice(0, full.indexOf(stop)))
    assert.equal(choices[0]!.finish_reason, 'stop')
    assert.ok(choices[0]!.logprobs!.text_offset!.every((offset) => offset < choices[0]!.text.length))
  })

  it('is told its mistakes as errors of the right class', async () => {
    const ask = (over: object) => openai.completions.create({ ...greedy, prompt: 'a', ...over } as never)
    await assert.rejects(() => ask({ model: 'gpt-5' }), OpenAI.NotFoundError)
    await assert.rejects(
      () => ask({ temperature: -1 }),
      (error: unknown) => error instanceof OpenAI.BadRequestError && error.param === 'temperature',
    )
    await assert.rejects(
      () => ask({ prompt: Array(300).fill(5), stream: true }),
      (error: unknown) => error instanceof OpenAI.BadRequestError && error.code === 'context_length_exceeded',
    )
  })
})

describe('a harness that scores texts', () => {
  it('gets ln p of every token of prompts given as ids, the first without one, and what is likeliest', async () => {
    const ids = [...tokenizer.encode('The old house stood on a hill')]
    const other = ids.slice(0, 4)
    const body = { model, prompt: [ids, other], temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true }
    const { status, json } = await post(body)
    assert.equal(status, 200)
    for (const [i, prompt] of [ids, other].entries()) {
      const { tokens, token_logprobs: scores, top_logprobs: top, text_offset: offsets } = json.choices[i].logprobs
      assert.equal(tokens.join(''), json.choices[i].text)
      assert.equal(scores.length, prompt.length + 1)
      assert.deepEqual([scores[0], top[0]], [null, null])
      // What the harness does: the score of the text is a sum, and it is greedy where each token is the likeliest.
      const { logits, logSums } = await generator.advance(
        generator.start(),
        { dtype: 'int32', shape: [1, prompt.length], data: Int32Array.from(prompt) },
        { logits: 'all' },
      )
      const { vocab } = generator.config
      for (let n = 1; n < prompt.length; n++) {
        const row = logits.data.subarray((n - 1) * vocab, n * vocab)
        assert.ok(Math.abs(scores[n] - (row[prompt[n]!]! - logSums[n - 1]!)) < 1e-4)
        assert.ok(
          Math.abs(Math.max(...(Object.values(top[n]) as number[])) - (Math.max(...row) - logSums[n - 1]!)) < 1e-4,
        )
        assert.equal(json.choices[i].text.slice(offsets[n], offsets[n] + tokens[n].length), tokens[n])
      }
    }
  })

  it('may score without writing', async () => {
    const { json } = await post({ model, prompt: 'The old house', max_tokens: 0, echo: true, logprobs: 0 })
    assert.equal(json.choices[0].text, 'The old house')
    assert.equal(json.choices[0].logprobs.token_logprobs.length, 3)
  })
})

const base = { model, prompt: 'a', max_tokens: 2 }
const bad: Readonly<Record<string, readonly [unknown, number, RegExp]>> = {
  'no JSON': ['{"model": "student", "prompt": [1,', 400, /the body is not JSON/],
  'an empty body': ['', 400, /body/i],
  'bytes that are no UTF-8': [Uint8Array.of(0x22, 0xff, 0xfe, 0x22), 400, /not in UTF-8/],
  'a list': [[], 400, /the body: got a list of 0, want a JSON object/],
  'a number for a prompt': [{ ...base, prompt: 5 }, 400, /prompt: got 5, want a text/],
  'a mixed prompt': [{ ...base, prompt: ['a', 5] }, 400, /prompt: got a list of 2/],
  'a token past the vocabulary': [{ ...base, prompt: [5000] }, 400, /got token 5000, want 0 to 4095/],
  'a negative token': [{ ...base, prompt: [-1] }, 400, /prompt: got a list of 1/],
  'a negative number of tokens': [
    { ...base, max_tokens: -1 },
    400,
    /max_tokens: got -1, want a whole number from 0 to 64/,
  ],
  'a huge number of tokens': [{ ...base, max_tokens: 1e300 }, 400, /max_tokens: got 1e\+300/],
  'an infinite number': ['{"model":"student","prompt":"a","temperature":1e999}', 400, /temperature: got null/],
  'half a token': [{ ...base, max_tokens: 1.5 }, 400, /max_tokens: got 1.5/],
  'a text for a number': [{ ...base, temperature: 'hot' }, 400, /temperature: got "hot", want a number from 0 to 2/],
  'no model': [{ prompt: 'a' }, 400, /model: got nothing, want "student"/],
  'another model': [{ ...base, model: 'x'.repeat(5000) }, 404, /model: got "x{100}", want "student"/],
  'an unknown field': [{ ...base, temprature: 1 }, 400, /temprature: is not known here/],
  'a field that would change the answer': [{ ...base, suffix: 'end' }, 400, /suffix: got "end", want none/],
  'too many choices': [{ ...base, n: 17 }, 400, /n: got 17/],
  'too many texts': [{ ...base, prompt: ['a', 'b', 'c'], n: 9 }, 400, /at most 16 texts/],
  'an empty stop string': [{ ...base, stop: '' }, 400, /stop: got ""/],
  'a bias of another vocabulary': [{ ...base, logit_bias: { 9999: 1 } }, 400, /logit_bias: got token 9999/],
  'a bias without a number': [{ ...base, logit_bias: { a: 1 } }, 400, /logit_bias.a: got 1, want a token id/],
  'a prompt past the limit': [{ ...base, prompt: Array(201).fill(7) }, 400, /prompt: got 201 tokens, want at most 200/],
  'a prompt that leaves no room': [
    { ...base, prompt: Array(200).fill(7), max_tokens: 64 },
    400,
    /do not fit into the model's 256/,
  ],
  'a body past the limit': [{ ...base, prompt: 'a'.repeat(70_000) }, 413, /too large/i],
}

describe('the server', () => {
  for (const [what, [body, status, message]] of Object.entries(bad)) {
    it(`refuses ${what} with ${status}, and goes on`, async () => {
      const found = await post(body)
      assert.equal(found.status, status)
      assert.match(found.json.error.message, message)
      assert.deepEqual(Object.keys(found.json.error), ['message', 'type', 'param', 'code'])
    })
  }

  const badChats: readonly [object, RegExp][] = [
    [{}, /messages: got nothing/],
    [{ messages: [] }, /messages: got a list of 0/],
    [{ messages: ['hi'] }, /messages\[0\]: got "hi", want a JSON object/],
    [{ messages: [{ role: 'robot', content: 'hi' }] }, /messages\[0\].role: got "robot"/],
    [{ messages: [{ role: 'user', content: 5 }] }, /messages\[0\].content: got 5/],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      /content\[0\].type: got "image_url", want "text"/,
    ],
    [{ messages: [{ role: 'tool', content: 'hi' }] }, /messages: role: got "tool", want system, user, assistant/],
    [{ messages: [{ role: 'user', content: 'hi' }], tools: [{}] }, /tools: got a list of 1, want none/],
    [{ messages: [{ role: 'user', content: 'hi' }], top_logprobs: 2 }, /logprobs to be true/],
  ]
  for (const [body, message] of badChats) {
    it(`refuses the conversation ${JSON.stringify(body)}`, async () => {
      const { status, json } = await post({ model, ...body }, { path: '/v1/chat/completions' })
      assert.equal(status, 400)
      assert.match(json.error.message, message)
    })
  }

  it('answers unknown addresses, other content and what is no HTTP in the same shape', async () => {
    assert.equal((await post({}, { path: '/v1/embeddings' })).json.error.code, 'not_found')
    const xml = await post('<a/>', { headers: { 'content-type': 'text/xml' } })
    assert.equal(xml.status, 415)
    assert.match(xml.json.error.message, /media type/i)
    const raw = await new Promise<string>((resolve) => {
      const socket = connect(server.port, '127.0.0.1', () => socket.write('NONSENSE\r\n\r\n'))
      let text = ''
      socket.on('data', (data) => {
        text += data
      })
      socket.on('close', () => resolve(text))
    })
    assert.match(raw, /^HTTP\/1.1 400 .*"type":"invalid_request_error"/s)
  })

  it('gives many clients at once each its own text', async () => {
    const asked = Array.from({ length: 24 }, (_, i) => ({ prompt: `Story ${i % 7}:`, seed: i % 5 }))
    const want = new Map<string, string>()
    for (const one of asked) {
      const key = JSON.stringify(one)
      if (!want.has(key)) want.set(key, await alone(one.prompt, { tokens: 15, temperature: 1, seed: one.seed }))
    }
    const answers = await Promise.all(asked.map((one) => openai.completions.create({ model, ...one, max_tokens: 15 })))
    assert.deepEqual(
      answers.map(({ choices }) => choices[0]!.text),
      asked.map((one) => want.get(JSON.stringify(one))),
    )
  })

  it('wants its key where it has one, but tells anyone that it lives', async () => {
    const locked = await studentServer(engine, { apiKey: 'sesame-öffne-dich' })
    const get = (path: string, key?: string) =>
      fetch(`${locked.url}${path}`, key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } })
    assert.equal((await get('/healthz')).status, 200)
    for (const path of ['/v1/models', '/metrics', '/nowhere']) {
      for (const key of [undefined, '', 'sesame', 'sesame-offne-dichx']) {
        const response = await get(path, key)
        assert.equal(response.status, 401)
        const { error } = (await response.json()) as { error: { code: string } }
        assert.equal(error.code, 'invalid_api_key')
      }
    }
    const latin = Buffer.from('sesame-öffne-dich', 'utf8').toString('latin1')
    assert.equal((await get('/v1/models', latin)).status, 200)
    await locked.close(1)
  })

  it('sends clients away when as many texts wait as may, and takes them again', async () => {
    const small = await studentServer(engine, { mostInFlight: 2 })
    const ask = (n: number) => post({ ...base, max_tokens: 40, n, ignore_eos: true }, { url: small.url })
    const [first, second] = [ask(2), ask(1)]
    const statuses = (await Promise.all([first, second])).map(({ status }) => status).sort()
    assert.deepEqual(statuses, [200, 429])
    const refused = [await first, await second].find(({ status }) => status === 429)!
    assert.deepEqual([refused.json.error.code, refused.headers.get('retry-after')], ['queue_full', '1'])
    assert.equal((await ask(2)).status, 200)
    await small.close(1)
  })

  it('ends an answer that takes too long, and its work', async () => {
    const hasty = await studentServer(engine, { seconds: 0.02 })
    const { status, json } = await post({ ...base, max_tokens: 64, n: 8, ignore_eos: true }, { url: hasty.url })
    assert.deepEqual([status, json.error.type], [504, 'timeout_error'])
    await idle()
    await hasty.close(1)
  })

  it('frees the work of a client that leaves', async () => {
    const before = engine.counts().writtenTokens
    await new Promise<void>((resolve) => {
      const options = { method: 'POST', headers: { 'content-type': 'application/json' } }
      const request = httpRequest(`${server.url}/v1/completions`, options, (response) => {
        response.once('data', () => {
          request.destroy()
          resolve()
        })
      })
      request.on('error', () => {})
      request.end(JSON.stringify({ ...base, max_tokens: 64, n: 8, stream: true, ignore_eos: true }))
    })
    await idle()
    assert.ok(engine.counts().writtenTokens - before < 8 * 64)
  })

  it('lets nobody wait for a client that reads slowly, which gets all of its text in the end', async () => {
    const body = { ...base, temperature: 0, max_tokens: 40, ignore_eos: true }
    const want = (await post(body)).json.choices[0].text
    const slow = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { method: 'POST', headers: { 'content-type': 'application/json' } }
      const request = httpRequest(`${server.url}/v1/completions`, options, (response) => resolve(response.pause()))
      request.on('error', reject)
      request.end(JSON.stringify({ ...body, stream: true }))
    })
    assert.equal((await post(body)).json.choices[0].text, want)
    let text = ''
    for await (const chunk of slow) text += chunk
    const events = text.trim().split('\n\n')
    assert.equal(events.pop(), 'data: [DONE]')
    const pieces = events.map((event) => JSON.parse(event.slice('data: '.length)).choices[0].text)
    assert.equal(pieces.join(''), want)
  })

  it('tells its numbers in the format of Prometheus', async () => {
    await post({ ...base, max_tokens: 3 })
    const response = await fetch(`${server.url}/metrics`)
    assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/)
    const lines = (await response.text()).trimEnd().split('\n')
    for (const line of lines)
      assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.e+-]+)$/)
    const value = (name: string) => Number(lines.find((line) => line.startsWith(name))?.split(' ')[1])
    assert.ok(value('hedgehog_tokens_total{kind="written"}') > 3)
    assert.ok(value('hedgehog_requests_total{route="/v1/completions",status="400"}') > 10)
    assert.ok(value('hedgehog_resident_bytes') > 1e7)
  })

  it('lets answers end when it closes, and takes no more', async () => {
    const closing = await studentServer(engine)
    const running = post({ ...base, max_tokens: 60, ignore_eos: true }, { url: closing.url })
    await busy()
    const closed = closing.close(30)
    assert.equal((await fetch(`${closing.url}/healthz`)).status, 503)
    assert.equal((await post(base, { url: closing.url })).status, 503)
    assert.equal((await running).json.usage.completion_tokens, 60)
    await closed
    await assert.rejects(() => post(base, { url: closing.url }))
  })

  it('does not wait longer than it was told to when it closes', async () => {
    const closing = await studentServer(engine)
    const running = post({ ...base, max_tokens: 64, n: 16, ignore_eos: true }, { url: closing.url })
    await busy()
    const [{ status }] = await Promise.all([running, closing.close(0)])
    assert.equal(status, 503)
    await idle()
  })
})

describe('an engine', () => {
  it('says why it cannot open a model', async () => {
    const settings = { device: 'cpu', mostTexts: 1, mostPrompt: 1, mostTokens: 1, prefixBytes: 0 } as const
    await assert.rejects(() => startEngine({ ...settings, model: 'test/nowhere' }), /test\/nowhere: no such folder/)
  })
})

/** Waits until the model has something to do. */
async function busy(): Promise<void> {
  while (engine.counts().writing === 0) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** Waits until the model has nothing to do. */
async function idle(): Promise<void> {
  for (;;) {
    // The counts come with events, so a request is made that brings some.
    await post({ ...base, max_tokens: 1 })
    const { waiting, reading, writing } = engine.counts()
    if (waiting + reading + writing === 0) return
  }
}
