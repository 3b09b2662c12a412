/** Draws progress records: one live line per phase on a terminal, plain lines in a file, JSON lines for machines. */

import { formatBytes, formatCount, formatMetric, formatSeconds } from '../base/format.ts'
import type { Progress } from '../base/progress.ts'

/** Shows the records of one or several jobs, one after the other. */
export interface ProgressView {
  see(progress: Progress): void
  /** Shows a line that is no record, above the live line. */
  say(line: string): void
  /** Finishes the live line, so that others may print. */
  end(): void
}

/** Where a view draws and what it reads: all injected, so that a test draws into a string at a made-up time. */
export interface ProgressTarget {
  write(text: string): void
  /** Characters in a line of the terminal. */
  readonly columns: number
  /** Seconds on any steady clock. */
  now(): number
  /** Bytes of resident memory. */
  memory(): number
}

const redrawSeconds = 0.1
const plainSeconds = { least: 5, most: 60 }
const plainShare = 0.1 - 1e-9

/** A view for a terminal: the line of a phase is rewritten in place, and a finished phase leaves its summary. */
export function liveProgress(target: ProgressTarget): ProgressView {
  const phases = new Phases()
  let drawnAt = -Infinity
  let live = ''
  const draw = (line: string) => {
    target.write(`\r\x1b[K${line}`)
    live = line
  }
  const say = (line: string) => {
    const below = live
    draw('')
    target.write(`${line}\n`)
    if (below !== '') draw(below)
  }
  const summarize = (phase: Phase) => {
    draw('')
    target.write(`${fit([...summary(phase)], target.columns - 1)}\n`)
  }
  return {
    see(progress) {
      const phase = phases.note(progress)
      if (progress.message !== undefined) say(progress.message)
      if (phase.finishedNow) return summarize(phase)
      if (phase.finished || target.now() - drawnAt < redrawSeconds) return
      drawnAt = target.now()
      draw(liveLine(phase, target))
    },
    say,
    end() {
      for (const phase of phases.unfinished()) summarize(phase)
      if (live !== '') draw('')
    },
  }
}

/** A view for files and pipes: a plain line every tenth of a phase, but not within 5 seconds, and every minute. */
export function plainProgress(target: ProgressTarget): ProgressView {
  const phases = new Phases()
  let spoken = { name: '', share: 0, at: -Infinity }
  const say = (line: string) => target.write(`${line}\n`)
  return {
    see(progress) {
      const phase = phases.note(progress)
      if (progress.message !== undefined) say(progress.message)
      if (phase.finishedNow) return say(summary(phase).join('  '))
      const share = shareOf(progress)
      const passed = target.now() - spoken.at
      const isDue = passed >= plainSeconds.most || (passed >= plainSeconds.least && share - spoken.share >= plainShare)
      if (phase.finished || (spoken.name === progress.phase && !isDue)) return
      spoken = { name: progress.phase, share, at: target.now() }
      say([progress.phase, ...details(phase)].join('  '))
    },
    say,
    end() {
      for (const phase of phases.unfinished()) say(summary(phase).join('  '))
    },
  }
}

/** A view for machines: each record is one line of JSON in `writeRecord`; other lines go to the target. */
export function jsonProgress(target: Pick<ProgressTarget, 'write'>, writeRecord: (line: string) => void): ProgressView {
  return { ...quietProgress(target), see: (progress) => writeRecord(`${JSON.stringify(progress)}\n`) }
}

/** A view without records, for `--quiet`; other lines are still shown. */
export function quietProgress(target: Pick<ProgressTarget, 'write'>): ProgressView {
  return { see: () => {}, say: (line) => target.write(`${line}\n`), end: () => {} }
}

interface Phase {
  readonly first: Progress
  readonly last: Progress
  readonly finished: boolean
  readonly finishedNow: boolean
}

/** The phases seen so far: the first record of each gives the rate, which a resumed job would else get wrong. */
class Phases {
  readonly #phases = new Map<string, Phase>()

  note(progress: Progress): Phase {
    const before = this.#phases.get(progress.phase)
    const isNew = before === undefined || progress.step < before.last.step
    const finished = progress.step >= progress.steps
    const finishedNow = finished && (isNew || !before.finished)
    // A record may leave out what an earlier one told: the line keeps showing it.
    const metrics = isNew ? progress.metrics : { ...before.last.metrics, ...progress.metrics }
    const last = metrics === undefined ? progress : { ...progress, metrics }
    const phase = { first: isNew ? progress : before.first, last, finished, finishedNow }
    this.#phases.set(progress.phase, phase)
    return phase
  }

  unfinished(): Phase[] {
    const open = [...this.#phases.values()].filter((phase) => !phase.finished)
    this.#phases.clear()
    return open
  }
}

function liveLine(phase: Phase, target: ProgressTarget): string {
  const { last } = phase
  const width = target.columns - 1
  const parts = details(phase)
  parts.splice(4, 0, formatBytes(target.memory()))
  const room = width - last.phase.length - parts.join('  ').length - 4
  return fit([last.phase, barOf(shareOf(last), Math.max(10, Math.min(24, room))), ...parts], width)
}

function details(phase: Phase): string[] {
  const { last } = phase
  const parts = [`${last.step}/${last.steps}`, ...metricsOf(last)]
  const { stepsPerSecond, tokensPerSecond } = rates(phase)
  if (tokensPerSecond > 0) parts.splice(2, 0, `${formatCount(tokensPerSecond)} tokens/s`)
  if (stepsPerSecond > 0) parts.splice(2, 0, `${formatSeconds((last.steps - last.step) / stepsPerSecond)} left`)
  return parts
}

function summary(phase: Phase): string[] {
  const { last } = phase
  const steps = phase.finished ? `${last.steps}` : `${last.step} of ${last.steps}`
  const parts = [last.phase, `${steps} ${last.steps === 1 ? 'step' : 'steps'} in ${formatSeconds(last.seconds)}`]
  parts.push(...metricsOf(last))
  const { tokensPerSecond } = rates(phase)
  if (tokensPerSecond > 0) parts.splice(3, 0, `${formatCount(tokensPerSecond)} tokens/s`)
  return parts
}

function rates({ first, last }: Phase): { stepsPerSecond: number; tokensPerSecond: number } {
  const isOne = first.step === last.step || first.seconds >= last.seconds
  const from = isOne ? { step: 0, seconds: 0, tokens: 0 } : first
  const seconds = last.seconds - from.seconds
  if (!(seconds > 0)) return { stepsPerSecond: 0, tokensPerSecond: 0 }
  const tokens = last.tokens === undefined ? 0 : last.tokens - (from.tokens ?? 0)
  return { stepsPerSecond: (last.step - from.step) / seconds, tokensPerSecond: tokens / seconds }
}

function metricsOf({ metrics = {} }: Progress): string[] {
  const words = (name: string) => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  return Object.entries(metrics).map(([name, value]) => `${words(name)} ${formatMetric(value)}`)
}

function shareOf({ step, steps }: Progress): number {
  return steps > 0 ? Math.min(1, step / steps) : 1
}

function barOf(share: number, width: number): string {
  const full = Math.round(share * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}

/** As many leading parts as fit the width; a first part that is alone too long is cut. */
function fit(parts: readonly string[], width: number): string {
  let line = (parts[0] ?? '').slice(0, Math.max(0, width))
  for (const part of parts.slice(1)) {
    if (line.length + 2 + part.length <= width) line += `  ${part}`
  }
  return line
}
