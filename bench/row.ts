/** What a bench is, and what it measures: rows with a peer, a ratio to it, and a target. */

/** One measured case. */
export interface Row {
  readonly case: string
  readonly value: number
  readonly unit: string
  /** What the value stands beside, measured in the same run. */
  readonly peer?: string
  /** The peer's value over this one, so above 1 is faster, or smaller, than the peer. */
  readonly ratio?: number
  /** The least that `ratio` should be; without a ratio, the most that `value` should be. */
  readonly target?: number
}

/** How a bench is run. */
export interface BenchRun {
  /** Tiny sizes: shows that the bench works, and nothing about speed. */
  readonly quick: boolean
  /** Which of {@link Bench.parts} to measure. Default: all. */
  readonly part?: string
  /** Tells the person waiting what is being measured, or why something is left out. */
  readonly note: (line: string) => void
}

/** An entry of the table of benches. */
export interface Bench {
  /** One line for the list of benches. */
  readonly summary: string
  /** What should hold, in words. */
  readonly target: string
  /** Parts that can be measured alone, where the whole takes long; each stands in its rows' names. */
  readonly parts?: readonly string[]
  run(how: BenchRun): Promise<Row[]>
}

/** Whether a row reaches its target; undefined when it has none. */
export function reaches({ value, ratio, target }: Row): boolean | undefined {
  if (target === undefined) return undefined
  return ratio === undefined ? value <= target : ratio >= target
}
