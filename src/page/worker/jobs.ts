/** The table of what a worker can do. */

import type { JobName, Jobs } from '../protocol.ts'
import { check } from './check.ts'
import type { Host } from './host.ts'

/** A job: yields news while it runs, returns its result, and looks at the signal between its steps. */
export type WorkerJob<N extends JobName> = (
  input: Jobs[N]['input'],
  host: Host,
  signal: AbortSignal,
) => AsyncGenerator<Jobs[N]['news'], Jobs[N]['result'], void>

export const jobs: { readonly [N in JobName]: WorkerJob<N> } = {
  check,
}
