/** The view that converts a model in the tab: what is chosen, how it goes, and what comes out. */

import { reportSections } from '../../report/html.ts'
import { decimals } from '../../report/summary.ts'
import type { App, Mounted } from '../app.ts'
import type { ConversionChoices, ConvertInput, ConvertNews, ConvertResult, TextRef, Unfinished } from '../conversion.ts'
import { fill, h } from '../dom.ts'
import { bundledModel } from '../models.ts'
import { save } from '../parts/download.ts'
import { attentionChoices, choiceField, numberField } from '../parts/fields.ts'
import { fileDrop } from '../parts/fileDrop.ts'
import { liveCurves } from '../parts/liveCurves.ts'
import { modelChoice } from '../parts/modelChoice.ts'
import { progressBar } from '../parts/progress.ts'
import { drawSections } from '../parts/sections.ts'
import { failure, nothing, wasStopped } from '../parts/states.ts'

export function open(app: App): Mounted {
  const desk = app.desk('convert')
  const form = conversionForm(() => fill(message))
  const start = h('button', { type: 'button', class: 'first', onclick: begin }, 'Convert')
  const stop = h('button', { type: 'button', hidden: true, onclick: () => control?.abort() }, 'Stop and keep')
  const message = h('div')
  const waiting = h('div')
  const bar = progressBar()
  const scores = scoreTable()
  const curves = liveCurves('loss (nats)')
  const result = h('div', {}, nothing('Loss curves and perplexities appear here while a model is converted.'))
  const report = h('article', { class: 'report' })
  let control: AbortController | undefined

  function begin(): void {
    try {
      void run({ device: app.device(), begin: form.value() })
    } catch (error) {
      fill(message, failure(error))
    }
  }

  async function run(input: ConvertInput): Promise<void> {
    control = new AbortController()
    setRunning(true)
    curves.clear()
    scores.clear()
    try {
      const done = await desk.run('convert', input, { see, signal: control.signal })
      app.announce(`${done.name} is converted.`)
      await show(done)
    } catch (error) {
      if (wasStopped(error)) app.announce('The conversion was stopped. It is kept.')
      else fill(message, failure(error))
    } finally {
      control = undefined
      bar.end()
      setRunning(false)
      await lookForWork()
    }
  }

  function setRunning(is: boolean): void {
    start.disabled = is
    stop.hidden = !is
    form.disable(is)
    if (!is) return
    for (const place of [message, waiting, report, result]) fill(place)
  }

  function see(news: ConvertNews): void {
    if (news.kind === 'curve') {
      const [phase, name] = phaseOf(news.phase)
      const points = news.points.map(({ step, loss, validationLoss }) => point(step, loss, validationLoss))
      curves.add(phase, name, points)
      return
    }
    const { progress } = news
    bar.see(progress)
    const [phase, name] = phaseOf(progress.phase)
    const { loss, validationLoss, perplexity } = progress.metrics ?? {}
    if (loss !== undefined) curves.add(phase, name, [point(progress.step, loss, validationLoss)])
    if (perplexity !== undefined) scores.note(name, perplexity, progress.step === progress.steps)
  }

  async function show({ name, report: found, stored }: ConvertResult): Promise<void> {
    const download = async () => {
      try {
        save(await desk.run('pack', { name }), `${name}.zip`)
      } catch (error) {
        fill(message, failure(error))
      }
    }
    fill(
      result,
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', class: 'first', onclick: () => void download() }, 'Download the model'),
        h(
          'span',
          { class: 'soft' },
          stored
            ? `It is kept in this browser as ${name}, for the other views to use.`
            : 'This browser keeps nothing: download it before you close the tab.',
        ),
      ),
    )
    // The report has them too.
    curves.clear()
    scores.clear()
    await drawSections(report, reportSections(found))
  }

  /** Offers to go on with a conversion that was interrupted. */
  async function lookForWork(): Promise<void> {
    const found = await desk.run('unfinished', null).catch(() => null)
    if (!found || control) return
    const go = () => void run({ device: app.device() })
    const drop = () => void desk.run('forget', null).then(() => fill(waiting))
    fill(
      waiting,
      h(
        'div',
        { class: 'offer' },
        h('p', {}, unfinishedWords(found)),
        h(
          'div',
          { class: 'actions' },
          h('button', { type: 'button', class: 'first', onclick: go }, 'Go on'),
          h('button', { type: 'button', onclick: drop }, 'Forget it'),
        ),
      ),
    )
  }
  void lookForWork()

  const about =
    'A Transformer learns to attend linearly: its feature maps are trained to imitate softmax, then all weights are ' +
    'finetuned. It happens in this tab, and goes on after the tab was closed.'
  const actions = h('div', { class: 'actions' }, start, stop)
  return {
    element: h(
      'div',
      {},
      h('p', { class: 'lead' }, about),
      waiting,
      form.element,
      actions,
      message,
      bar.element,
      scores.element,
      curves.element,
      result,
      report,
    ),
  }
}

const unfinishedWords = ({ model, choices }: Unfinished): string =>
  `A conversion of ${model} to ${choices.map} was interrupted. What it had learned is kept in this browser.`

/** `distill hedgehog-distilled` as its phase and the row of the report that it makes. */
function phaseOf(phase: string): readonly [phase: string, name: string] {
  const space = phase.indexOf(' ')
  return space < 0 ? [phase, ''] : [phase.slice(0, space), phase.slice(space + 1)]
}

function point(step: number, value: number, heldOut: number | undefined) {
  return { step, value, ...(heldOut !== undefined && { heldOut }) }
}

/** Perplexities as they are measured. */
function scoreTable() {
  const rows = new Map<string, HTMLElement>()
  const body = h('tbody')
  const table = h(
    'table',
    {},
    h('caption', {}, 'Perplexity on test text'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Model'), h('th', { scope: 'col' }, 'Perplexity'))),
    body,
  )
  const element = h('div', { class: 'scores', hidden: true }, table)
  return {
    element,
    note(name: string, perplexity: number, isFinal: boolean) {
      let cell = rows.get(name)
      if (!cell) {
        cell = h('td')
        rows.set(name, cell)
        body.append(h('tr', {}, h('th', { scope: 'row' }, name), cell))
        element.hidden = false
      }
      cell.textContent = `${decimals(perplexity, 2)}${isFinal ? '' : ' …'}`
    },
    clear() {
      rows.clear()
      fill(body)
      element.hidden = true
    },
  }
}

/** What a person chooses. */
function conversionForm(changed: () => void) {
  const model = modelChoice({ converted: false, first: bundledModel, changed })
  let texts: TextRef = 'prose'
  const text = choiceField('Text', [['prose', 'English prose (Brown corpus)']])
  const fault = h('div')
  const drop = fileDrop({
    words: 'Or drop plain text files of your own here, to learn from and to measure on',
    chooseFile: 'Choose a text',
    accept: '.txt,.md,text/plain',
    take(taken) {
      texts = taken
      const select = text.element.querySelector('select')!
      fill(
        select,
        h('option', { value: 'prose' }, 'English prose (Brown corpus)'),
        h('option', { value: 'own' }, taken.name),
      )
      select.value = 'own'
      fill(fault)
    },
    failed: (error) => fill(fault, failure(error)),
  })
  const map = choiceField('Attention', attentionChoices, 'hedgehog')
  const numbers = {
    length: numberField('Tokens in a sequence', 128, 8, 4096),
    batch: numberField('Sequences in a batch', 8, 1, 64),
    distillSteps: numberField('Steps of distillation', 40, 0, 10_000),
    finetuneSteps: numberField('Steps of finetuning', 10, 0, 10_000),
    seed: numberField('Seed', 0, 0, 2 ** 31 - 1),
  }
  const element = h(
    'fieldset',
    {},
    h('legend', {}, 'What is converted'),
    h(
      'div',
      { class: 'sources' },
      model.element,
      h('div', { class: 'choice' }, h('div', { class: 'field' }, text.element), drop, fault),
    ),
    h('div', { class: 'fields' }, map.element, ...Object.values(numbers).map((field) => field.element)),
  )
  return {
    element,
    disable(is: boolean) {
      element.disabled = is
    },
    /** @throws RangeError naming a field. */
    value() {
      const choices = Object.fromEntries(Object.entries(numbers).map(([name, field]) => [name, field.value()]))
      return {
        model: model.value(),
        texts: text.value() === 'own' ? texts : ('prose' as const),
        choices: { map: map.value(), ...choices } as unknown as ConversionChoices,
      }
    },
  }
}
