/** What was said and written, as it stands on the page. */

import { h } from '../dom.ts'

/** One continuation of what was said. */
export interface Answer {
  text: string
  readonly seed: number
  /** Whether the text goes on from here. */
  kept: boolean
  /** Where it can be gone on from, once it has ended. */
  point?: number
  ending?: 'stop' | 'length' | 'left'
}

/** What was said, and one answer, or two that are looked at side by side. */
export interface Exchange {
  readonly said: string
  /** The point before it. */
  readonly from: number
  answers: Answer[]
  /** Answers that were begun, each with draws of its own. */
  draws?: number
  element?: ExchangeElement
}

/** An exchange on the page. */
export interface ExchangeElement {
  readonly root: HTMLElement
  /** @param open whether an answer can be chosen now */
  paint(open: boolean): void
}

/** Options of {@link exchangeElement}. */
export interface ExchangeOptions {
  /** Whether there is a conversation; else a text is gone on with. */
  readonly talks: boolean
  keep(exchange: Exchange, answer: Answer): void
}

export function exchangeElement(exchange: Exchange, { talks, keep }: ExchangeOptions): ExchangeElement {
  const answers = h('div', { class: 'answers' })
  const root = h('div', { class: talks ? 'exchange talk' : 'exchange' })
  if (exchange.said !== '')
    root.append(h('p', { class: 'said' }, talks && h('span', { class: 'unseen' }, 'You: '), exchange.said))
  root.append(answers)
  const known = new Map<Answer, AnswerElement>()
  return {
    root,
    paint(open) {
      const several = exchange.answers.length > 1
      root.classList.toggle('several', several)
      for (const [answer, { root }] of known) if (!exchange.answers.includes(answer)) root.remove()
      for (const answer of exchange.answers) {
        const element = known.get(answer) ?? answerElement(answer, () => keep(exchange, answer))
        if (!known.has(answer)) answers.append(element.root)
        known.set(answer, element)
        element.paint(several || talks, several, open)
      }
    },
  }
}

interface AnswerElement {
  readonly root: HTMLElement
  /** @param apart whether it stands by itself, and not right behind what was said */
  paint(apart: boolean, several: boolean, open: boolean): void
}

const endings = { stop: '', length: ' …', left: ' … (stopped)' }

function answerElement(answer: Answer, choose: () => void): AnswerElement {
  const text = document.createTextNode('')
  const more = h('span', { class: 'soft' })
  const button = h('button', { type: 'button', onclick: choose })
  const seed = h('p', { class: 'soft' }, `seed ${answer.seed}`)
  const root = h('div', { class: 'answer' }, h('p', { class: 'written' }, text, more), seed, button)
  return {
    root,
    paint(apart, several, open) {
      const shown = apart ? answer.text.trimStart() : answer.text
      if (text.data !== shown) text.data = shown
      more.textContent = answer.ending ? endings[answer.ending] : '▍'
      seed.hidden = button.hidden = !several
      root.classList.toggle('kept', several && answer.kept)
      button.disabled = !open || answer.point === undefined
      button.textContent = answer.kept ? 'The text goes on from this one' : 'Go on from this one'
      button.setAttribute('aria-pressed', String(answer.kept))
    },
  }
}
