/** The view that trains associative recall from scratch with two attentions side by side. */

import type { App, Mounted } from '../app.ts'
import { fill, h } from '../dom.ts'
import { attentionChoices, choiceField, numberField } from '../parts/fields.ts'
import { liveCurves } from '../parts/liveCurves.ts'
import { progressBar } from '../parts/progress.ts'
import { failure, nothing, wasStopped } from '../parts/states.ts'

const choices = [['softmax', 'Softmax'], ...attentionChoices] as const

export function open(app: App): Mounted {
  const sides = [side(app, 'First attention', 'hedgehog'), side(app, 'Second attention', 'elu')] as const
  const numbers = {
    steps: numberField('Steps at most', 2000, 1, 20_000),
    length: numberField('Tokens in a sequence', 16, 4, 64),
    vocab: numberField('Different tokens', 20, 5, 200),
    seed: numberField('Seed', 0, 0, 2 ** 31 - 1),
  }
  const start = h('button', { type: 'button', class: 'first', onclick: () => void run() }, 'Train both')
  const stop = h('button', { type: 'button', hidden: true, onclick: () => control?.abort() }, 'Stop')
  const message = h('div')
  const curves = liveCurves('right answers (%)')
  const losses = liveCurves('loss (nats)')
  const empty = h('div', {}, nothing('How many answers are right appears here while the two learn.'))
  let control: AbortController | undefined

  async function run(): Promise<void> {
    fill(message)
    let settings: { steps: number; length: number; vocab: number; seed: number }
    try {
      settings = {
        steps: numbers.steps.value(),
        length: numbers.length.value(),
        vocab: numbers.vocab.value(),
        seed: numbers.seed.value(),
      }
      if (settings.length % 2 !== 0)
        throw new RangeError('Tokens in a sequence: want an even number, keys and values in turn')
    } catch (error) {
      fill(message, failure(error))
      return
    }
    fill(empty)
    curves.clear()
    losses.clear()
    control = new AbortController()
    const { signal } = control
    setRunning(true)
    const names = sides.map((one) => one.name())
    const see = (i: number, step: number, loss: number | undefined, wrong: number | undefined) => {
      const name = names[0] === names[1] ? `${names[i]} ${i + 1}` : names[i]!
      if (loss !== undefined) losses.add('loss', name, [{ step, value: loss }])
      if (wrong !== undefined) curves.add('accuracy', name, [{ step, value: 100 * (1 - wrong) }])
    }
    await Promise.all(
      sides.map((one, i) => one.run({ ...settings, device: app.device() }, signal, (...found) => see(i, ...found))),
    )
    control = undefined
    setRunning(false)
    app.announce(sides.map((one) => one.sentence()).join(' '))
  }

  function setRunning(is: boolean): void {
    start.disabled = is
    stop.hidden = !is
  }

  const about =
    'A sequence tells which value belongs to which key, and then asks for one of them. An attention that can point at ' +
    'one token learns it; one whose weights stay flat does not. Two small models start from the same numbers and learn side by side.'
  return {
    element: h(
      'div',
      {},
      h('p', { class: 'lead' }, about),
      h(
        'fieldset',
        {},
        h('legend', {}, 'What is trained'),
        h(
          'div',
          { class: 'fields' },
          ...sides.map((one) => one.field),
          ...Object.values(numbers).map((one) => one.element),
        ),
      ),
      h('div', { class: 'actions' }, start, stop),
      message,
      h('div', { class: 'wide' }, ...sides.map((one) => one.element)),
      empty,
      curves.element,
      losses.element,
    ),
  }
}

interface Settings {
  readonly device: ReturnType<App['device']>
  readonly steps: number
  readonly length: number
  readonly vocab: number
  readonly seed: number
}

/** One of the two: its choice, its worker, its bar and its accuracy. */
function side(app: App, label: string, first: string) {
  const choice = choiceField(label, choices, first)
  const desk = app.desk(`recall ${label}`)
  const number = h('strong', { class: 'large' })
  const title = h('h2', {})
  const bar = progressBar()
  const message = h('div')
  const element = h(
    'section',
    { class: 'side', hidden: true },
    title,
    h('p', {}, number, ' of the answers are right'),
    bar.element,
    message,
  )
  const name = () => choices.find(([value]) => value === choice.value())![1]
  let words = ''

  const right = (share: number) => {
    number.textContent = `${(100 * share).toFixed(share === 1 ? 0 : 1)} %`
  }
  return {
    field: choice.element,
    element,
    name,
    sentence: () => words,
    async run(
      settings: Settings,
      signal: AbortSignal,
      see: (step: number, loss: number | undefined, wrong: number | undefined) => void,
    ): Promise<void> {
      const own = name()
      title.textContent = own
      number.textContent = '–'
      element.hidden = false
      fill(message)
      try {
        const { accuracy, steps } = await desk.run(
          'recall',
          { ...settings, map: choice.value() },
          {
            signal,
            see(progress) {
              const { loss, validationLoss } = progress.metrics ?? {}
              bar.see({ ...progress, phase: own })
              if (validationLoss !== undefined) right(1 - validationLoss)
              see(progress.step, loss, validationLoss)
            },
          },
        )
        right(accuracy)
        const solved = accuracy >= 0.99
        words = solved ? `${own} solved it in ${steps} steps.` : `${own} did not solve it in ${steps} steps.`
        fill(message, h('p', { class: 'soft' }, words))
      } catch (error) {
        words = wasStopped(error) ? `${own} was stopped.` : `${own} failed.`
        fill(message, wasStopped(error) ? h('p', { class: 'soft' }, words) : failure(error))
      } finally {
        bar.end()
      }
    },
  }
}
