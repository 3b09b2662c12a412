/** A running job as a bar and a line of words, from the same records that the command line draws. */

import { formatCount, formatMetric, formatSeconds } from '../../base/format.ts'
import type { Progress } from '../../base/progress.ts'
import { h, oncePerFrame } from '../dom.ts'

/** A bar that follows a job. */
export interface ProgressBar {
  readonly element: HTMLElement
  see(progress: Progress): void
  /** Hides it until the next record. */
  end(): void
}

export function progressBar(): ProgressBar {
  const name = h('span', { class: 'phase' })
  const bar = h('progress', { max: 1, value: 0, 'aria-label': 'progress' })
  const words = h('span', { class: 'soft numbers' })
  const element = h('div', { class: 'progress', hidden: true }, name, bar, words)
  let last: Progress | undefined
  const paint = oncePerFrame(() => {
    element.hidden = last === undefined
    if (!last) return
    name.textContent = last.phase
    bar.max = Math.max(last.steps, 1e-9)
    bar.value = last.step
    words.textContent = line(last)
  })
  return {
    element,
    see(progress) {
      last = progress
      paint()
    },
    end() {
      last = undefined
      paint()
    },
  }
}

/** `12 of 60, loss 4.81, 3.1k tokens/s, 4s left` */
export function line({ step, steps, seconds, tokens, metrics }: Progress): string {
  const rate = tokens !== undefined && seconds > 0.5 ? `${formatCount(tokens / seconds)} tokens/s` : undefined
  const left = step > 0 && step < steps ? `${formatSeconds((seconds / step) * (steps - step))} left` : undefined
  const loss = metrics?.loss === undefined ? undefined : `loss ${formatMetric(metrics.loss)}`
  return [`${step} of ${steps}`, loss, rate, left].filter((part) => part !== undefined).join(', ')
}
