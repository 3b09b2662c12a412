/** What the page asks of a conversion, and what it is told of it. */

import type { Progress } from '../base/progress.ts'
import type { Report } from '../report/types.ts'
import type { ProviderName } from '../web/engine.ts'
import type { ModelRef } from './models.ts'

/** The text of a conversion: the prose that comes with the page, or files of a person's own. */
export type TextRef = 'prose' | { readonly name: string; readonly files: Readonly<Record<string, Blob>> }

/** What a person sets. */
export interface ConversionChoices {
  /** A feature map or another attention, e.g. `hedgehog`. */
  readonly map: string
  readonly length: number
  readonly batch: number
  readonly distillSteps: number
  readonly finetuneSteps: number
  readonly seed: number
}

/** A conversion to begin. */
export interface NewConversion {
  readonly model: ModelRef
  readonly texts: TextRef
  readonly choices: ConversionChoices
}

/** What goes into the job `convert`. */
export interface ConvertInput {
  readonly device: ProviderName
  /** Without it, the conversion that was interrupted goes on. */
  readonly begin?: NewConversion
}

/** What the job `convert` tells: progress, and the curve so far of a stage that goes on. */
export type ConvertNews =
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'curve'; readonly phase: string; readonly points: Report['curves'][number]['points'] }

/** What the job `convert` ends with. */
export interface ConvertResult {
  /** The name under which the model is stored. */
  readonly name: string
  readonly report: Report
  /** Whether it stays when the tab is closed. */
  readonly stored: boolean
}

/** A conversion that was interrupted. */
export interface Unfinished {
  /** The model's name. */
  readonly model: string
  readonly choices: ConversionChoices
}

/** The jobs of the view, by name. */
export interface ConvertJobs {
  readonly convert: { readonly input: ConvertInput; readonly news: ConvertNews; readonly result: ConvertResult }
  /** The conversion that was interrupted, if there is one. */
  readonly unfinished: { readonly input: null; readonly news: never; readonly result: Unfinished | null }
  /** Forgets it. */
  readonly forget: { readonly input: null; readonly news: never; readonly result: null }
  /** A converted model as a zip file. */
  readonly pack: { readonly input: { readonly name: string }; readonly news: never; readonly result: Blob }
}
