/**
 * Runs `hedgehog serve` on the bundled model, converted, under many streaming clients, and checks every answer.
 * `npm run build && node --import tsx scripts/soak-serve.ts [--seconds 120] [--clients 64] [--tokens 48] [--json]`
 *
 * Each client asks again and again, greedy or by seed, and compares the text, its pieces and their number with what the
 * library wrote of that prompt alone before. Beside them, some clients leave in the middle of an answer and some send what is no
 * request. Ends with code 1 unless all answers are right, no request fails, memory stays flat after the first quarter, and the
 * event loop's delay stays under 50 ms at the 99th percentile.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { random } from '../src/base/random.ts'
import { linearize } from '../src/convert/linearize.ts'
import { generate } from '../src/generate/generate.ts'
import { createGenerator } from '../src/generate/state.ts'
import { loadTokenizer } from '../src/io/tokenizer.ts'
import { loadModel, saveModel } from '../src/models/folder.ts'
import { openDevice } from '../src/node/device.ts'
import { folderSink, folderSource } from '../src/node/files.ts'

const options = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    clients: { type: 'string', default: '64' },
    tokens: { type: 'string', default: '48' },
    json: { type: 'boolean', default: false },
  },
}).values
const [seconds, clients, tokens] = [options.seconds, options.clients, options.tokens].map(Number) as [
  number,
  number,
  number,
]
const root = fileURLToPath(new URL('..', import.meta.url))

/** What a client asks for, and the right answer. */
interface Case {
  readonly prompt: string
  readonly temperature: number
  readonly seed: number
  readonly text: string
}

/** What was seen of the server at one time. */
interface Seen {
  readonly at: number
  readonly resident: number
  readonly loopDelay: number
}

const folder = await mkdtemp(join(tmpdir(), 'hedgehog-soak-'))
const counts = { answers: 0, tokens: 0, wrong: 0, failed: 0, left: 0, refused: 0 }
const faults: string[] = []
let server: ChildProcess | undefined
try {
  const cases = await prepare()
  const started = await start()
  server = started.process
  const seen = await soak(started.url, cases)
  const ended = new Promise<number | null>((resolve) => server!.once('exit', resolve))
  server.kill('SIGINT')
  report(seen, await ended)
} finally {
  server?.kill()
  await rm(folder, { recursive: true, force: true })
}

/** Writes the model, and what it says to each prompt alone. */
async function prepare(): Promise<Case[]> {
  const source = folderSource(join(root, 'models/tiny'))
  const [model, tokenizer] = [await loadModel(source), await loadTokenizer(source)]
  const student = linearize(model, 'hedgehog-softmax', random(0))
  await saveModel(folderSink(folder), student, { tokenizer: tokenizer.json })
  const generator = createGenerator(await openDevice('cpu'), student)
  const words = [
    'The old house',
    'In the morning',
    'She said that',
    'When the war',
    'A number of',
    'He did not',
    'It is',
    'New',
  ]
  const cases: Case[] = []
  for (let i = 0; i < clients; i++) {
    const prompt = `${words[i % words.length]} ${'and so on '.repeat(i % 7)}${i}`
    const [temperature, seed] = [i % 2 === 0 ? 0 : 0.8, i]
    const written: number[] = []
    const draws = random(seed).split(0)
    const settings = { temperature, maxTokens: tokens, random: draws, topP: 1 }
    for await (const { id } of generate(generator, [...tokenizer.encode(prompt)], settings)) written.push(id)
    cases.push({ prompt, temperature, seed, text: tokenizer.decode(written) })
  }
  await generator.dispose()
  return cases
}

async function start(): Promise<{ process: ChildProcess; url: string }> {
  const line = [
    join(root, 'dist/cli/main.js'),
    'serve',
    folder,
    '--port',
    '0',
    '--name',
    'soak',
    '--concurrent',
    `${clients}`,
  ]
  const process = spawn('node', line, { stdio: ['ignore', 'pipe', 'inherit'] })
  const url = await new Promise<string>((resolve, reject) => {
    process.once('exit', (code) => reject(new Error(`hedgehog serve ended with code ${code}`)))
    let text = ''
    process.stdout!.on('data', (chunk) => {
      text += chunk
      const found = /http:\/\/[^ /]+/.exec(text)
      if (found) resolve(found[0])
    })
  })
  return { process, url }
}

async function soak(url: string, cases: readonly Case[]): Promise<Seen[]> {
  const begun = performance.now()
  const elapsed = () => (performance.now() - begun) / 1000
  const goesOn = () => elapsed() < seconds
  const again = async (work: (round: number) => Promise<void>) => {
    for (let round = 0; goesOn(); round++) {
      await work(round).catch((error: Error) => {
        counts.failed += 1
        faults.push(error.message)
      })
    }
  }
  const seen: Seen[] = []
  const watch = async () => {
    while (goesOn()) {
      await new Promise((resolve) => setTimeout(resolve, 1000))
      seen.push({ at: elapsed(), ...(await metrics(url)) })
    }
  }
  await Promise.all([
    watch(),
    ...cases.map((_, i) => again((round) => ask(url, cases[(i + 7 * round) % cases.length]!))),
    ...cases.slice(0, 4).map((one) => again(() => leave(url, one))),
    again(() => disturb(url)),
  ])
  return seen
}

function post(url: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal && { signal }),
  })
}

function requestOf({ prompt, temperature, seed }: Case) {
  const writing = { max_tokens: tokens, temperature, seed, ignore_eos: true }
  return { model: 'soak', prompt, stream: true, stream_options: { include_usage: true }, ...writing }
}

/** One whole answer, compared with what it must be. */
async function ask(url: string, wanted: Case): Promise<void> {
  const response = await post(url, requestOf(wanted))
  if (response.status !== 200) throw new Error(`status ${response.status}: ${(await response.text()).slice(0, 200)}`)
  const events = (await response.text()).split('\n\n').filter((event) => event !== '')
  if (events.at(-1) !== 'data: [DONE]') throw new Error('the stream did not end with [DONE]')
  const bodies = events.slice(0, -1).map((event) => JSON.parse(event.slice('data: '.length)))
  const text = bodies.map(({ choices }) => choices[0]?.text ?? '').join('')
  const written = bodies.at(-1).usage.completion_tokens
  counts.answers += 1
  counts.tokens += written
  if (text === wanted.text && written === tokens) return
  counts.wrong += 1
  faults.push(`${JSON.stringify(wanted.prompt)}: got ${JSON.stringify(text)}, want ${JSON.stringify(wanted.text)}`)
}

/** A client that leaves after the first bytes of its answer. */
async function leave(url: string, { prompt }: Case): Promise<void> {
  const controller = new AbortController()
  const body = { model: 'soak', prompt, stream: true, max_tokens: 4 * tokens, ignore_eos: true }
  try {
    const response = await post(url, body, controller.signal)
    await response.body!.getReader().read()
  } finally {
    controller.abort()
  }
  counts.left += 1
  await new Promise((resolve) => setTimeout(resolve, 200))
}

/** A client whose requests are none. */
async function disturb(url: string): Promise<void> {
  for (const body of ['{', '[]', '{"model":"soak","prompt":"a","max_tokens":-1}', '{"model":"soak","prompt":[1e9]}']) {
    const { status } = await post(url, body)
    if (status !== 400) throw new Error(`got status ${status} for ${body}, want 400`)
    counts.refused += 1
  }
  await new Promise((resolve) => setTimeout(resolve, 200))
}

async function metrics(url: string): Promise<Omit<Seen, 'at'>> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const value = (name: string) => Number(new RegExp(`^hedgehog_${name} (\\S+)$`, 'm').exec(text)?.[1])
  return { resident: value('resident_bytes'), loopDelay: value('loop_delay_seconds') }
}

function report(seen: readonly Seen[], code: number | null): void {
  const settled = seen.filter(({ at }) => at > seconds / 4)
  const third = Math.ceil(settled.length / 3)
  const mean = (part: readonly Seen[]) => part.reduce((sum, { resident }) => sum + resident, 0) / part.length
  const delays = settled.map(({ loopDelay }) => loopDelay).sort((a, b) => a - b)
  const result = {
    clients,
    seconds,
    ...counts,
    tokensPerSecond: Math.round(counts.tokens / seconds),
    residentBefore: Math.round(mean(settled.slice(0, third))),
    residentAfter: Math.round(mean(settled.slice(-third))),
    /** The 99th percentile within a second: the middle one of all seconds, and the largest. */
    loopDelay: delays[delays.length >> 1]!,
    loopDelayMost: delays.at(-1)!,
    exitCode: code,
  }
  for (const fault of faults.slice(0, 5)) console.error(fault)
  console.log(options.json ? JSON.stringify(result) : JSON.stringify(result, null, 2))
  const isFlat = result.residentAfter <= 1.05 * result.residentBefore
  const isRight = counts.wrong === 0 && counts.failed === 0 && counts.answers > 0
  if (!isRight || !isFlat || result.loopDelay > 0.05 || code !== 0) process.exitCode = 1
}
