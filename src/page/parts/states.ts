/** Empty, loading and failed: what every view shows when it has nothing to show. */

import { h } from '../dom.ts'

/** What failed, in the words of the error, and a way to try again. */
export function failure(error: unknown, again?: () => void): HTMLElement {
  const message = error instanceof Error ? error.message : String(error)
  return h(
    'div',
    { class: 'failure', role: 'alert' },
    h('p', {}, message),
    again && h('button', { type: 'button', onclick: again }, 'Try again'),
  )
}

/** A place where results will be, with what to do to get them. */
export function nothing(sentence: string): HTMLElement {
  return h('p', { class: 'nothing' }, sentence)
}

/** Whether a job ended because it was asked to. */
export function wasStopped(error: unknown): boolean {
  return error instanceof Error && error.name === 'Interrupted'
}
