/** What the page asks of a training on associative recall, and what it is told. */

import type { Progress } from '../base/progress.ts'
import type { DeviceChoice } from './device.ts'

/** What goes into the job `recall`. */
export interface RecallInput extends DeviceChoice {
  /** An attention, e.g. `hedgehog` or `softmax`. */
  readonly map: string
  readonly steps: number
  /** Tokens in a sequence, an even number. */
  readonly length: number
  /** Token ids: equally many keys and values, and a mark. */
  readonly vocab: number
  readonly seed: number
}

/** What the job `recall` ends with. */
export interface RecallResult {
  /** Share of held-out answers that are right. */
  readonly accuracy: number
  /** Steps until it was solved, or all. */
  readonly steps: number
}

/** The jobs of the view, by name; `validationLoss` in the progress is the share of held-out answers that are wrong. */
export interface RecallJobs {
  readonly recall: { readonly input: RecallInput; readonly news: Progress; readonly result: RecallResult }
}
