/** What an export is told and what it tells: the contract of every target. */

import type { Sink, Source } from '../io/files.ts'
import type { Tokenizer } from '../io/tokenizer.ts'
import type { ModelFiles } from '../models/files.ts'
import type { Device, Session } from '../runtime/device.ts'
import type { AttentionForm } from './attention.ts'
import type { WeightType } from './storage.ts'
import type { Distance } from './verify.ts'

/** Options of an export; each target says which it takes. */
export interface ExportOptions {
  /** What matrices of weights are stored as. Default float32. */
  readonly type?: WeightType
  /** How linear attention is computed. Default `operator`. */
  readonly attention?: AttentionForm
  /** Positions that rotary tables are made for. Default: as many as the model was made for. */
  readonly positions?: number
  /** Write a checkpoint that the other program computes otherwise, for training further there. Default false. */
  readonly inexact?: boolean
}

/** What is exported, and where to. */
export interface ExportJob {
  /** Its parameters are read one by one; `filesOf` makes such of a model in memory. */
  readonly model: ModelFiles
  readonly tokenizer: Tokenizer
  /** Where the model came from: its tokenizer settings and chat template go along. */
  readonly source: Source
  /** Where the files are written; the caller keeps them only when the export succeeds. */
  readonly sink: Sink
  /** What was written to the sink, read again. */
  readonly written: Source
  /** Opens a model file that was written to the sink; it is not run, so that its weights need not be read. */
  open(file: string): Promise<Session>
  /** What the model itself is computed on, to be compared with. */
  readonly device: Device
  readonly options: ExportOptions
}

/** What was written. */
export interface Exported {
  /** Paths and bytes. */
  readonly files: readonly { readonly path: string; readonly bytes: number }[]
  /** How far the export is from the model with the weights as they were stored; absent where it cannot be run here. */
  readonly exact?: Distance
  /** How far it is from the model as it was: what the storage of weights changes. */
  readonly changed?: Distance
  /** What the other program computes otherwise. */
  readonly differences?: readonly string[]
}

/** A program that models are exported for. */
export interface Target {
  /** One line for help and docs. */
  readonly summary: string
  /** The options it takes. */
  readonly takes: readonly (keyof ExportOptions)[]
  /**
   * @throws RangeError or TypeError naming what the format cannot hold; Error when the export computes something else.
   */
  write(job: ExportJob): Promise<Exported>
}
