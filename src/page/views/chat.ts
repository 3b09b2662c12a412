/** The view of texts and conversations: a converted model writes, and one sees how little it keeps of what it has read. */

import { formatBytes, formatCount, formatSeconds } from '../../base/format.ts'
import type { App, Mounted } from '../app.ts'
import { memoryChart, memoryWords } from '../chat/memoryChart.ts'
import { type Answer, type Exchange, exchangeElement } from '../chat/transcript.ts'
import type { ChatNews, MemorySizes, Met, Speed } from '../chat/types.ts'
import { draw, fill, h, oncePerFrame } from '../dom.ts'
import { bundledConverted } from '../models.ts'
import { numberField } from '../parts/fields.ts'
import { modelChoice } from '../parts/modelChoice.ts'
import { progressBar } from '../parts/progress.ts'
import { failure, nothing, wasStopped } from '../parts/states.ts'

/** What stands in the field at first: a beginning for a model that goes on with texts. */
const beginning = 'The old man walked down to the sea and'

export function open(app: App): Mounted {
  const desk = app.desk('chat')
  let choice = 0
  let device = app.device()
  let met: Met | undefined
  let exchanges: Exchange[] = []
  let writing: AbortController | undefined
  let memory: MemorySizes | undefined
  let speed: Speed | undefined

  const models = modelChoice({ converted: true, first: bundledConverted, folded: true, changed: () => void begin() })
  const settings = settingFields()
  const bar = progressBar()
  const about = h('p', { class: 'soft' })
  const message = h('div')
  const transcript = h('div', { class: 'transcript', role: 'region', 'aria-label': 'What was written' })
  const empty = nothing('What is written appears here.')
  const words = h('textarea', { rows: 3, value: beginning, onkeydown: pressed })
  const wordsName = h('span', {}, 'Text')
  const send = h('button', { type: 'submit', class: 'first' }, 'Write')
  const stop = h('button', { type: 'button', onclick: () => writing?.abort() }, 'Stop')
  const again = h('button', { type: 'button', onclick: () => void regenerate() }, 'Again')
  const fork = h('button', { type: 'button', onclick: () => void forked() }, 'Fork')
  const anew = h('button', { type: 'button', onclick: clear }, 'New')
  const tiles = h('dl', { class: 'tiles' })
  const [chart, memoryNote] = [h('div'), h('p', { class: 'soft' })]

  function paintButtons(): void {
    const last = exchanges.at(-1)
    send.disabled = writing !== undefined || met === undefined
    stop.disabled = writing === undefined
    again.disabled = writing !== undefined || !last
    fork.disabled = writing !== undefined || !last || last.answers.length > 1
    anew.disabled = writing !== undefined || !last
  }

  const paint = oncePerFrame(() => {
    empty.hidden = exchanges.length > 0
    paintButtons()
    for (const [i, exchange] of exchanges.entries()) {
      const element = exchange.element ?? exchangeElement(exchange, { talks: met?.talks ?? false, keep })
      if (!exchange.element) transcript.append(element.root)
      exchange.element = element
      element.paint(i === exchanges.length - 1 && !writing)
    }
    paintNumbers()
  })

  function paintNumbers(): void {
    const cache = memory && memory.tokens * memory.cacheBytesPerToken
    const rate = speed && speed.written > 1 ? (speed.written - 1) / speed.seconds : undefined
    fill(
      tiles,
      tile('Tokens a second', rate === undefined ? '–' : formatRate(rate)),
      tile('Tokens read and written', memory ? String(memory.tokens) : '–'),
      tile(met?.grows ? 'Keys and values kept' : 'State', memory ? formatBytes(memory.stateBytes) : '–'),
      tile('A key/value cache', cache === undefined ? '–' : cache === 0 ? '0 B' : formatBytes(cache)),
    )
    if (!memory || !met) return
    draw(chart, memoryChart(memory, met.grows))
    const read =
      speed && speed.read > 0 ? ` ${speed.read} tokens were read in ${formatSeconds(speed.readSeconds)}.` : ''
    memoryNote.textContent = memoryWords(memory, met.grows) + read
  }

  /** Opens the model that is chosen; another one's texts are let go. */
  async function begin(): Promise<void> {
    choice += 1
    device = app.device()
    writing?.abort()
    met = memory = speed = undefined
    clearTranscript()
    fill(message)
    fill(about, 'The model is being opened …')
    paint()
    const own = choice
    try {
      const found = await desk.run('meet', speaking(), { see })
      if (own !== choice) return
      met = found
      memory = found.memory
      const limit = found.limit === undefined ? 'any length' : `texts of at most ${found.limit} tokens`
      about.textContent = `${formatCount(found.parameters)} parameters, attention: ${found.attention}, ${limit}; ${
        found.talks ? 'it has a chat template: talk with it.' : 'it has no chat template: it goes on with a text.'
      }`
      wordsName.textContent = found.talks ? 'Message' : 'Text to go on with'
      send.textContent = found.talks ? 'Send' : 'Write'
      if (found.talks && words.value === beginning) words.value = ''
    } catch (error) {
      if (own !== choice) return
      fill(about)
      fill(
        message,
        failure(error, () => void begin()),
      )
    }
    bar.end()
    paint()
  }

  /** What was written lies on the device that it was begun on; another one is for the next text. */
  const speaking = () => ({ device, model: models.value(), choice })

  function see(news: ChatNews, answer?: Answer): void {
    if (news.kind === 'progress') {
      bar.see(news.progress)
      return
    }
    if (answer) answer.text += news.text
    ;({ speed, memory } = news)
    paint()
  }

  function pressed(event: KeyboardEvent): void {
    if (event.key === 'Escape') writing?.abort()
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    if (!send.disabled) void said()
  }

  async function said(): Promise<void> {
    const from = exchanges.at(-1)?.answers.find(({ kept }) => kept)?.point ?? 0
    const exchange: Exchange = { said: words.value, from, answers: [] }
    if (exchanges.length > 0) keepChosen()
    exchanges.push(exchange)
    if (await answered(exchange)) {
      words.value = ''
      return
    }
    // Nothing was written: what was said can be mended.
    exchanges = exchanges.filter((one) => one !== exchange)
    exchange.element?.root.remove()
    paint()
  }

  /** Writes one more answer to what was said; false where there is none. */
  async function answered(exchange: Exchange): Promise<boolean> {
    let chosen: ReturnType<typeof settings.value>
    try {
      chosen = settings.value()
    } catch (error) {
      fill(message, failure(error))
      return false
    }
    const { seed, ...rest } = chosen
    const answer: Answer = { text: '', seed: seed + (exchange.draws ?? 0), kept: exchange.answers.length === 0 }
    exchange.draws = (exchange.draws ?? 0) + 1
    exchange.answers.push(answer)
    writing = new AbortController()
    const { signal } = writing
    fill(message)
    // At once, so that a second press does not begin a second answer.
    paintButtons()
    paint()
    try {
      const wish = { ...speaking(), ...rest, seed: answer.seed, from: exchange.from, text: exchange.said }
      const { point, ending } = await desk.run('write', wish, { signal, see: (news) => see(news, answer) })
      Object.assign(answer, { point, ending })
      app.announce(`Written: ${answer.text.slice(0, 300)}`)
    } catch (error) {
      exchange.answers = exchange.answers.filter((one) => one !== answer)
      if (exchange.answers.length > 0 && !exchange.answers.some(({ kept }) => kept)) exchange.answers[0]!.kept = true
      if (!wasStopped(error)) fill(message, failure(error))
    }
    writing = undefined
    bar.end()
    paint()
    return exchange.answers.length > 0
  }

  /** The last answer anew, with other draws. */
  async function regenerate(): Promise<void> {
    const last = exchanges.at(-1)
    if (!last) return
    const before = last.answers
    last.answers = []
    if (!(await answered(last))) last.answers = before
    paint()
  }

  /** A second answer beside the last, from the same state. */
  async function forked(): Promise<void> {
    const last = exchanges.at(-1)
    if (last) await answered(last)
  }

  /** Goes on from one of several answers. */
  function keep(exchange: Exchange, answer: Answer): void {
    for (const one of exchange.answers) one.kept = one === answer
    paint()
  }

  /** Of several answers only the one that is gone on from stays. */
  function keepChosen(): void {
    const last = exchanges.at(-1)!
    last.answers = last.answers.filter(({ kept }) => kept)
  }

  function clear(): void {
    words.focus()
    if (device !== app.device()) {
      void begin()
      return
    }
    clearTranscript()
    memory = met?.memory
    speed = undefined
    paint()
  }

  function clearTranscript(): void {
    exchanges = []
    fill(transcript)
  }

  const submit = (event: Event) => {
    event.preventDefault()
    void said()
  }
  return {
    element: h(
      'div',
      { class: 'chat' },
      h(
        'p',
        { class: 'lead' },
        'A converted model keeps a state of constant size, however long the text: here it is beside what softmax would keep.',
      ),
      h('div', { class: 'fields' }, models.element, settings.elements),
      about,
      bar.element,
      empty,
      transcript,
      message,
      h(
        'form',
        { onsubmit: submit },
        h('label', { class: 'field' }, wordsName, words),
        h('div', { class: 'actions' }, send, stop, again, fork, anew),
        h('p', { class: 'soft hint' }, 'Enter writes, Shift+Enter begins a new line, Escape stops.'),
      ),
      h('h2', {}, 'What it takes'),
      tiles,
      h('div', { class: 'wide' }, chart, memoryNote),
    ),
    shown() {
      void models.refresh()
      if (choice === 0 || (device !== app.device() && exchanges.length === 0)) void begin()
    },
  }
}

function settingFields() {
  const temperature = decimalField('Temperature', 0.8, 0, 5)
  const topP = decimalField('Top-p', 0.95, 0.01, 1)
  const tokens = numberField('Tokens', 60, 1, 4096)
  const seed = numberField('Seed', 0, 0, 2 ** 31 - 1)
  return {
    elements: [temperature.element, topP.element, tokens.element, seed.element],
    value: () => ({
      temperature: temperature.value(),
      topP: topP.value(),
      maxTokens: tokens.value(),
      seed: seed.value(),
    }),
  }
}

function decimalField(label: string, first: number, least: number, most: number) {
  const input = h('input', { type: 'number', min: least, max: most, step: 0.05, value: first, inputmode: 'decimal' })
  return {
    element: h('label', {}, label, input),
    /** @throws RangeError naming the field. */
    value(): number {
      const value = Number(input.value)
      if (input.value !== '' && value >= least && value <= most) return value
      throw new RangeError(`${label}: got ${input.value || 'nothing'}, want a number from ${least} to ${most}`)
    },
  }
}

const formatRate = (rate: number): string => (rate < 10 ? rate.toFixed(1) : formatCount(rate))

function tile(name: string, value: string): HTMLElement {
  return h('div', {}, h('dt', {}, name), h('dd', {}, value))
}
