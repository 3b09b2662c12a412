/** How times and memory are measured: interleaved rounds, medians, and a process of its own for each case. */

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The middle value, or the mean of the two in the middle. @throws RangeError without values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  if (low === undefined || high === undefined) throw new RangeError('median: got no values, want at least one')
  return (low + high) / 2
}

/** The median of the quotients of values measured in the same rounds: slow drifts of the machine cancel in it. */
export function medianRatio(over: readonly number[], under: readonly number[]): number {
  return median(over.map((value, round) => value / under[round]!))
}

/** Measures the cases in turn, A B A B …, so that all of them see the same machine. The first round is not kept. */
export async function interleaved(
  cases: readonly (() => number | Promise<number>)[],
  rounds: number,
  note: (line: string) => void = () => {},
): Promise<number[][]> {
  const seen = cases.map((): number[] => [])
  for (let round = 0; round <= rounds; round++) {
    note(round === 0 ? 'warming up' : `round ${round} of ${rounds}`)
    for (const [i, measure] of cases.entries()) {
      const value = await measure()
      if (round > 0) seen[i]!.push(value)
    }
  }
  return seen
}

/** The seconds that some work takes. */
export async function seconds(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

/**
 * The seconds of processor time that some work takes, over all threads of this process: on one thread, what it would take
 * on a machine with nothing else to do.
 */
export async function processorSeconds(work: () => unknown): Promise<number> {
  const start = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1e6
}

/** Prepares a case in a process of its own and returns what measures one round of it. */
export type Measurement = () => Promise<number>

/** A table of cases that a module offers to {@link inProcesses}, by name, as its export `cases`. */
export type Cases = Readonly<Record<string, (options: never) => Promise<Measurement>>>

/** A case in a process of its own, whose memory is therefore its own. */
interface Process {
  /** One round; what it returns is the case's affair, mostly seconds. */
  round(): Promise<number>
  /** The most memory that it ever held, in bytes. */
  peak(): Promise<number>
  kill(): void
}

/** Where a case is: a module with an export `cases`, a name in it, and options that are plain data. */
export interface CaseSource {
  readonly module: string
  readonly name: string
  readonly options: unknown
}

/** What was measured of a case; `peak` in bytes. */
export interface Measured {
  readonly values: readonly number[]
  readonly peak: number
}

/** What goes from the process of a case to ours. */
export type Reply = { readonly value: number } | { readonly error: string }

/**
 * Measures rounds of several cases in turn, each in its own process, and of what `others` measure between them.
 * @throws Error with the message of a case that fails, or when its process ends before it answers.
 */
export async function inProcesses(
  sources: readonly CaseSource[],
  rounds: number,
  note?: (line: string) => void,
  others: readonly (() => Promise<number>)[] = [],
): Promise<{ readonly cases: Measured[]; readonly others: number[][] }> {
  const processes: Process[] = []
  try {
    for (const source of sources) processes.push(await start(source))
    const values = await interleaved([...processes.map(({ round }) => round), ...others], rounds, note)
    const cases: Measured[] = []
    for (const [i, { peak }] of processes.entries()) cases.push({ values: values[i]!, peak: await peak() })
    return { cases, others: values.slice(sources.length) }
  } finally {
    for (const { kill } of processes) kill()
  }
}

/** Starts the process of a case and waits until it is prepared. */
async function start({ module, name, options }: CaseSource): Promise<Process> {
  const child = fork(fileURLToPath(new URL('child.ts', import.meta.url)), [module, name, JSON.stringify(options)])
  const reply = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const ended = (code: number | null, signal: string | null) => {
        reject(new Error(`${name}: its process ended with ${signal ?? `code ${code}`} before it answered`))
      }
      child.once('exit', ended)
      child.once('message', (message) => {
        child.off('exit', ended)
        const answer = message as Reply
        if ('error' in answer) reject(new Error(`${name}: ${answer.error}`))
        else resolve(answer.value)
      })
    })
  const ask = (what: 'round' | 'peak') => {
    const answer = reply()
    child.send(what)
    return answer
  }
  const kill = () => void child.kill()
  try {
    await reply()
  } catch (error) {
    kill()
    throw error
  }
  return { round: () => ask('round'), peak: () => ask('peak'), kill }
}
