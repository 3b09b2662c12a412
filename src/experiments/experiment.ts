/** What an experiment is: an entry with its data, settings, metric and published numbers, and the cases that it measures. */

import type { Job } from '../base/progress.ts'
import type { CorpusDocument, Split } from '../io/corpus.ts'
import type { Source } from '../io/files.ts'
import type { Picture } from '../io/pictures.ts'
import type { CaseResult, Column, ExperimentResult, PublishedRow, ResultRow } from '../report/experimentTypes.ts'
import type { Device } from '../runtime/device.ts'
import { memoryStages, type StageHost } from '../train/stage.ts'

/** A number that determines an experiment. */
export interface Setting {
  readonly value: number
  /** What `--quick` has in its place; the same where not given. */
  readonly quick?: number
  readonly meaning: string
  /** Whether the paper, or a source it follows, gives it, or it was chosen here. */
  readonly origin: 'published' | 'chosen'
}

/** Settings by name. */
export type SettingTable = Readonly<Record<string, Setting>>

/** The values of a table of settings. */
export type SettingsOf<T extends SettingTable> = { readonly [K in keyof T]: number }

/** What an experiment reads. */
export interface Data {
  /** `generated` and `packaged` data are always there; a `dataset` is read from the folder that --data names. */
  readonly kind: 'generated' | 'packaged' | 'dataset'
  readonly about: string
  /** Names in the table of datasets. */
  readonly datasets?: readonly string[]
}

/** What the place where an experiment runs offers. */
export interface Resources {
  /** The folder of --data. */
  readonly data?: Source
  /** The folder of a pretrained model, of --model. */
  readonly model?: Source
  /** The folder of the model that comes with the package. */
  readonly bundled: Source
  /** English text that is packaged, split by document: the Brown corpus with its categories. */
  corpus(): Promise<Split<CorpusDocument>>
  /** The pixels of a picture; for datasets of photographs. */
  readonly readPicture?: (bytes: Uint8Array) => Promise<Picture>
  /** The grey values of a picture, row by row; for Pathfinder. */
  readonly readGrey?: (bytes: Uint8Array) => Promise<Uint8Array>
}

/** What an experiment is run with. */
export interface Setup extends StageHost {
  readonly device: Device
  readonly quick: boolean
  readonly settings: Readonly<Record<string, number>>
  /** What is compared: names of attention. */
  readonly attentions: readonly string[]
  readonly seed: number
  readonly resources: Resources
}

/** One row of an experiment. */
export interface Case {
  readonly name: string
  run(): Job<CaseResult>
}

/** One experiment. */
export interface Experiment {
  readonly title: string
  /** The table, figure or section that it follows. */
  readonly source: string
  readonly data: Data
  readonly columns: readonly Column[]
  readonly settings: SettingTable
  /** Names of attention that are compared where none are chosen. */
  readonly attentions: readonly string[]
  readonly published: readonly PublishedRow[]
  /** Reads the data once. @throws Error that says which file is wanted and where to get it. */
  cases(setup: Setup): Promise<readonly Case[]>
}

/** Rows that were measured before an interruption, and where new ones are noted. */
export interface Ledger {
  readonly done: Readonly<Record<string, ResultRow>>
  note(row: ResultRow): Promise<void>
}

/**
 * The values of an experiment's settings.
 * @throws RangeError for names that it does not have.
 */
export function settingsOf(
  { settings }: Pick<Experiment, 'settings'>,
  quick: boolean,
  changed: Readonly<Record<string, number>> = {},
): Record<string, number> {
  const unknown = Object.keys(changed).find((name) => !Object.hasOwn(settings, name))
  if (unknown !== undefined) {
    throw new RangeError(`settings: got ${unknown}, want one of ${Object.keys(settings).join(', ')}`)
  }
  const values = Object.entries(settings).map(([name, setting]) => {
    return [name, changed[name] ?? (quick ? (setting.quick ?? setting.value) : setting.value)] as const
  })
  return Object.fromEntries(values)
}

/** Runs the cases of an experiment that the ledger does not have yet. */
export async function* runExperiment(
  name: string,
  experiment: Experiment,
  setup: Setup,
  ledger: Ledger = { done: {}, note: async () => {} },
): Job<ExperimentResult> {
  // Without a store of its own, what several rows begin with is still trained once.
  const cases = await experiment.cases({ store: memoryStages(), ...setup })
  const rows: ResultRow[] = []
  for (const one of cases) {
    let row = ledger.done[one.name]
    if (!row) {
      const began = setup.clock()
      const found = yield* one.run()
      const published = experiment.published.find((known) => known.name === one.name)
      row = { name: one.name, ...found, seconds: setup.clock() - began, ...(published && { published }) }
      await ledger.note(row)
    }
    rows.push(row)
  }
  const { quick, seed, settings } = setup
  return {
    experiment: name,
    title: experiment.title,
    source: experiment.source,
    quick,
    seed,
    settings,
    columns: experiment.columns,
    rows,
    unmeasured: experiment.published.filter((known) => rows.every((row) => row.name !== known.name)),
    seconds: rows.reduce((total, row) => total + row.seconds, 0),
  }
}
