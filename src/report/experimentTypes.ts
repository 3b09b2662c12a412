/** What an experiment ends with: plain data, the same in result.json, on the page and in the terminal. */

/** A column of an experiment's result. */
export interface Column {
  readonly name: string
  readonly unit?: string
  readonly better: 'higher' | 'lower'
  /** Decimals that are shown. */
  readonly digits: number
}

/** A published row beside which a measured one stands. */
export interface PublishedRow {
  readonly name: string
  readonly values: Readonly<Record<string, number>>
  /** Where it was found, if not on the paper's own page. */
  readonly note?: string
}

/** A line of points that a case adds to a chart. */
export interface Line {
  readonly chart: string
  readonly x: string
  readonly y: string
  readonly points: readonly (readonly [x: number, y: number])[]
}

/** What a model wrote after a prompt. */
export interface Sample {
  readonly prompt: string
  readonly text: string
}

/** What was measured of a case. */
export interface CaseResult {
  /** By the names of the experiment's columns. */
  readonly values: Readonly<Record<string, number>>
  readonly lines?: readonly Line[]
  readonly samples?: readonly Sample[]
  readonly note?: string
}

/** A row as it was measured, with what was published for it. */
export interface ResultRow extends CaseResult {
  readonly name: string
  readonly seconds: number
  readonly published?: PublishedRow
}

/** The result of an experiment; as JSON it is `result.json`. */
export interface ExperimentResult {
  readonly experiment: string
  readonly title: string
  readonly source: string
  readonly quick: boolean
  readonly seed: number
  readonly settings: Readonly<Record<string, number>>
  readonly columns: readonly Column[]
  readonly rows: readonly ResultRow[]
  /** Published rows that were not measured. */
  readonly unmeasured: readonly PublishedRow[]
  readonly seconds: number
}
