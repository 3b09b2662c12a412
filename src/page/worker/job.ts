/** What a job of a worker is. */

import type { JobName, Jobs } from '../protocol.ts'
import type { Host } from './host.ts'

/** A job: looks at the signal between its steps; one that takes long yields news, a short one only gives its result. */
export type WorkerJob<N extends JobName> = (
  input: Jobs[N]['input'],
  host: Host,
  signal: AbortSignal,
) => AsyncGenerator<Jobs[N]['news'], Jobs[N]['result'], void> | Promise<Jobs[N]['result']>
