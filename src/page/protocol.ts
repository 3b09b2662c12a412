/** What the page and its workers say to each other: the table of jobs, and the few messages that carry them. */

import type { Progress } from '../base/progress.ts'
import type { AttentionJobs } from './attention/types.ts'
import type { ChatJobs } from './chat/types.ts'
import type { ConvertJobs } from './conversion.ts'
import type { DeviceChoice } from './device.ts'
import type { RecallJobs } from './recall.ts'

/** What goes into a job, what it tells while it runs, and what it ends with; all plain data that can be sent. */
export interface JobShape {
  readonly input: unknown
  readonly news: unknown
  readonly result: unknown
}

/** Every job that a worker does, by name; views add theirs here, and `worker/jobs.ts` has what they do. */
export interface Jobs extends AttentionJobs, ChatJobs, ConvertJobs, RecallJobs {
  /** Opens a device and runs a training step's worth of arithmetic on it. */
  readonly check: { readonly input: DeviceChoice; readonly news: Progress; readonly result: CheckResult }
}

export type JobName = keyof Jobs

/** What {@link Jobs.check} finds. */
export interface CheckResult extends DeviceChoice {
  readonly threads: number
  /** The largest difference to the same in JavaScript. */
  readonly error: number
  readonly openSeconds: number
  readonly runSeconds: number
}

/** From the page to a worker. */
export type ToWorker =
  | { readonly kind: 'start'; readonly id: number; readonly name: JobName; readonly input: unknown }
  /** The job saves what it has, and fails with `Interrupted`. */
  | { readonly kind: 'stop'; readonly id: number }

/** From a worker to the page. */
export type FromWorker =
  | { readonly kind: 'news'; readonly id: number; readonly news: unknown }
  | { readonly kind: 'done'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly name: string; readonly message: string }
