/** The view of attention: softmax beside linear weights of one head on a text that one types, as its map learns. */

import { key } from '../../report/markup.ts'
import { decimals } from '../../report/summary.ts'
import type { App, Mounted } from '../app.ts'
import { headsTable, queryTable, tokenChoice, visible, weightCurve, weightsMap } from '../attention/pictures.ts'
import type { Look } from '../attention/types.ts'
import { draw, fill, h } from '../dom.ts'
import { bundledModel } from '../models.ts'
import { modelChoice } from '../parts/modelChoice.ts'
import { progressBar } from '../parts/progress.ts'
import { failure, nothing, wasStopped } from '../parts/states.ts'

const example = 'The old man said that the sea had never been so quiet, and that the old boat would wait for him.'
/** A pause in typing after which the text is looked at, in milliseconds. */
const pause = 120
/** From so many on, the head that was chosen for a text stays while it is typed on. */
const fewTokens = 8
/** Steps of a lesson in the tab, and how long each checkpoint is shown when they are played. */
const [lessonSteps, playSeconds] = [60, 0.9]

export function open(app: App): Mounted {
  const desk = app.desk('attention')
  let look: Look | undefined
  let choice = 0
  /** Undefined: the head that is the most telling. */
  let [layer, head]: [number | undefined, number | undefined] = [undefined, undefined]
  /** Undefined: what the model has by itself, and the last step that is known. */
  let [map, step]: [string | undefined, number | undefined] = [undefined, undefined]
  /** The query whose weights are shown; undefined is the last. */
  let query: number | undefined
  let [asking, again] = [false, false]
  let lesson: AbortController | undefined
  let playing = false

  const text = h('textarea', { rows: 3, value: example, spellcheck: 'false', oninput: () => typed() })
  const [bar, lessonBar] = [progressBar(), progressBar()]
  const message = h('div')
  const note = h('p', { class: 'soft' })
  const models = modelChoice({
    converted: true,
    first: bundledModel,
    folded: true,
    changed() {
      choice += 1
      ;[map, step, look] = [undefined, undefined, undefined]
      ;[layer, head] = [undefined, undefined]
      lesson?.abort()
      void ask()
    },
  })
  const maps = h('select', { onchange: () => chooseMap(maps.value) }, h('option', {}, 'hedgehog-exp'))
  const layers = numbers(() => choose(layers.selectedIndex, heads.selectedIndex))
  const heads = numbers(() => choose(layers.selectedIndex, heads.selectedIndex))
  const slider = h('input', {
    type: 'range',
    min: 0,
    max: 0,
    id: 'step',
    oninput: () => chooseStep(slider.valueAsNumber),
  })
  const stepWords = h('output', { for: 'step' })
  const play = h('button', { type: 'button', onclick: () => void togglePlay() }, 'Play')
  const learn = h('button', { type: 'button', onclick: () => void toggleLesson() }, `Distil ${lessonSteps} steps here`)
  const steps = h(
    'div',
    { class: 'steps' },
    h('label', { for: 'step' }, 'Distillation'),
    slider,
    stepWords,
    play,
    learn,
  )
  const tiles = h('dl', { class: 'tiles' })
  const [softmaxMap, linearMap, curve] = [h('div'), h('div'), h('div')]
  const linearName = h('figcaption')
  const curveName = h('h2')
  const [tokens, table, grid] = [h('div'), h('div'), h('div')]
  const sum = h('p', { class: 'soft' })
  const results = h(
    'div',
    { hidden: true },
    tiles,
    described(
      `Each row is a query, each column a key that it sees; each row sums to 1. Colour goes with the root of the weight: ${key('1')}`,
    ),
    h(
      'div',
      { class: 'wide pair' },
      h('figure', {}, h('figcaption', {}, 'Softmax'), scroller('Weights of softmax', softmaxMap)),
      h('figure', {}, linearName, scroller('Weights of the map', linearMap)),
    ),
    curveName,
    tokens,
    h('div', { class: 'wide' }, curve, table),
    h('h2', {}, 'Every head'),
    sum,
    grid,
  )
  const empty = nothing('Type a few words above: their attention is drawn as you type.')
  empty.hidden = true

  let timer: ReturnType<typeof setTimeout> | undefined
  function typed(): void {
    clearTimeout(timer)
    query = undefined
    timer = setTimeout(() => void ask(), pause)
  }

  function choose(l: number, i: number): void {
    ;[layer, head] = [l, i]
    void ask()
  }

  function chooseMap(name: string): void {
    ;[map, step] = [name, undefined]
    lesson?.abort()
    void ask()
  }

  function chooseStep(index: number): void {
    step = look?.steps[index]
    if (look && index === look.steps.length - 1) step = undefined
    void ask()
  }

  /** Looks again; of what is asked for while a look is on its way, only the last is looked at. */
  async function ask(): Promise<void> {
    if (asking) {
      again = true
      return
    }
    const words = text.value
    empty.hidden = words !== ''
    if (words === '') {
      results.hidden = true
      return
    }
    asking = true
    const question = { device: app.device(), model: models.value(), choice, text: words }
    try {
      const given = {
        ...question,
        ...(map !== undefined && { map }),
        ...(step !== undefined && { step }),
        ...(layer !== undefined && { layer }),
        ...(head !== undefined && { head }),
      }
      const seen = await desk.run('look', given, { see: bar.see })
      bar.end()
      fill(message)
      if (question.choice === choice) {
        look = seen
        await paint(seen)
      }
    } catch (error) {
      results.hidden = true
      fill(
        message,
        failure(error, () => void ask()),
      )
    } finally {
      asking = false
      bar.end()
    }
    if (!again) return
    again = false
    await ask()
  }

  /** One piece in each frame, so that none of them holds up the keyboard. */
  async function paint(seen: Look): Promise<void> {
    empty.hidden = true
    results.hidden = false
    if (seen.tokens.length >= fewTokens) {
      layer = seen.layer
      head = seen.head
    }
    paintChoices(seen)
    const pieces = [
      () => drawWide(softmaxMap, weightsMap(seen, 'softmax')),
      () => drawWide(linearMap, weightsMap(seen, 'linear')),
      () => paintQuery(seen),
      () => fill(grid, headsTable(seen, choose)),
    ]
    for (const piece of pieces) {
      piece()
      await new Promise((resolve) => requestAnimationFrame(resolve))
    }
  }

  function paintChoices(seen: Look): void {
    const known = [...(seen.converted ? [{ name: 'converted', summary: seen.converted }] : []), ...seen.maps]
    if (maps.options.length !== known.length) {
      fill(
        maps,
        known.map(({ name }) => h('option', { value: name }, name)),
      )
    }
    maps.value = seen.map
    const about = known.find(({ name }) => name === seen.map)?.summary ?? ''
    count(layers, seen.layers, seen.layer)
    count(heads, seen.heads, seen.head)
    slider.max = String(seen.steps.length - 1)
    slider.value = String(seen.steps.indexOf(seen.step))
    slider.disabled = play.disabled = seen.steps.length < 2
    const untrained = seen.step === 0
    stepWords.textContent = !seen.learns ? 'nothing to learn' : untrained ? 'before any' : `after ${seen.step} steps`
    learn.hidden = !lesson && (!seen.learns || seen.steps.length > 1)
    slider.setAttribute('aria-valuetext', stepWords.textContent)
    linearName.textContent = `${seen.map}${seen.learns ? `, ${stepWords.textContent === 'before any' ? 'untrained' : stepWords.textContent}` : ''}`
    const cut = seen.cut ? ` The first ${seen.most} tokens are shown.` : ''
    note.textContent = `${seen.map}: φ(x) = ${about}.${cut}`
    const kl = seen.kl[seen.layer]?.[seen.head]
    fill(
      tiles,
      tile('KL, softmax to map', `${decimals(kl, 3)}`),
      tile('Entropy of softmax', decimals(seen.entropy.softmax, 2)),
      tile('Entropy of the map', decimals(seen.entropy.linear, 2)),
      tile('Monotone in q·k', decimals(seen.monotonicity, 2)),
    )
    const all = seen.kl.flat()
    const mean = all.reduce((total, value) => total + value, 0) / all.length
    sum.textContent = `KL from softmax to ${seen.map} in nats, ${decimals(mean, 3)} as the mean of all heads; choose a head to look at it.`
  }

  function paintQuery(seen: Look): void {
    const at = Math.min(query ?? Number.POSITIVE_INFINITY, seen.tokens.length - 1)
    curveName.textContent = `What “${visible(seen.tokens[at]!)}” attends to`
    const focused = tokens.contains(document.activeElement)
    fill(
      tokens,
      tokenChoice(seen, at, (chosen) => {
        query = chosen
        if (look) paintQuery(look)
      }),
    )
    if (focused) tokens.querySelector<HTMLInputElement>('input:checked')?.focus()
    draw(curve, weightCurve(seen, at))
    fill(table, queryTable(seen, at))
  }

  async function togglePlay(): Promise<void> {
    playing = !playing
    play.textContent = playing ? 'Pause' : 'Play'
    const last = () => (look?.steps.length ?? 1) - 1
    for (let at = slider.valueAsNumber >= last() ? 0 : slider.valueAsNumber; playing; at++) {
      chooseStep(at)
      if (at >= last()) break
      await new Promise((resolve) => setTimeout(resolve, playSeconds * 1000))
    }
    playing = false
    play.textContent = 'Play'
  }

  async function toggleLesson(): Promise<void> {
    if (lesson) return lesson.abort()
    const named = look?.map
    if (named === undefined) return
    lesson = new AbortController()
    const { signal } = lesson
    learn.textContent = 'Stop'
    const given = { device: app.device(), model: models.value(), choice, map: named, steps: lessonSteps }
    try {
      const see = (progress: Parameters<typeof bar.see>[0]) => {
        lessonBar.see(progress)
        if (progress.phase.startsWith('distil') && (progress.step < 12 || progress.step % 10 === 0)) void ask()
      }
      const { loss } = await desk.run('learn', given, { signal, see })
      app.announce(`Distilled: the loss of ${named} is ${decimals(loss, 3)}. The slider shows how it learned.`)
    } catch (error) {
      if (!wasStopped(error)) fill(message, failure(error))
    }
    lesson = undefined
    learn.textContent = `Distil ${lessonSteps} steps here`
    lessonBar.end()
    await ask()
  }

  return {
    element: h(
      'div',
      { class: 'attention' },
      h(
        'p',
        { class: 'lead' },
        'Which words does a word attend to? Softmax attention beside a linear attention that learned to imitate it.',
      ),
      h('label', { class: 'field' }, 'Text', text),
      h(
        'div',
        { class: 'fields' },
        models.element,
        h('label', {}, 'Feature map', maps),
        h('label', {}, 'Layer', layers),
        h('label', {}, 'Head', heads),
      ),
      note,
      steps,
      lessonBar.element,
      bar.element,
      message,
      empty,
      results,
    ),
    shown() {
      void models.refresh()
      if (!look) void ask()
    },
  }
}

function numbers(changed: () => void): HTMLSelectElement {
  return h('select', { onchange: changed }, h('option', {}, '0'))
}

/** Numbers from 0 to choose from. */
function count(select: HTMLSelectElement, many: number, chosen: number): void {
  if (select.options.length !== many)
    fill(
      select,
      Array.from({ length: many }, (_, i) => h('option', {}, String(i))),
    )
  select.selectedIndex = chosen
}

function tile(name: string, value: string): HTMLElement {
  return h('div', {}, h('dt', {}, name), h('dd', {}, value))
}

/** A wide picture in a box that can be scrolled on a phone. */
function scroller(label: string, inner: HTMLElement): HTMLElement {
  return h('div', { class: 'scroll', role: 'region', 'aria-label': label, tabindex: 0 }, inner)
}

/** Draws a map that does not shrink below what can be read. */
function drawWide(element: HTMLElement, markup: string): void {
  draw(element, markup)
  const picture = element.querySelector('svg')
  if (picture) picture.style.minWidth = `${Math.round(picture.viewBox.baseVal.width * 0.85)}px`
}

function described(markup: string): HTMLElement {
  const element = h('p', { class: 'soft' })
  draw(element, markup)
  return element
}
