/** The table of what a worker can do. */

import { learn, look } from '../attention/jobs.ts'
import { meet, write } from '../chat/jobs.ts'
import type { JobName, Jobs } from '../protocol.ts'
import { check } from './check.ts'
import { convertModel, forget, pack, unfinished } from './convert.ts'
import type { Host } from './host.ts'
import { recall } from './recall.ts'

/** A job: looks at the signal between its steps; one that takes long yields news, a short one only gives its result. */
export type WorkerJob<N extends JobName> = (
  input: Jobs[N]['input'],
  host: Host,
  signal: AbortSignal,
) => AsyncGenerator<Jobs[N]['news'], Jobs[N]['result'], void> | Promise<Jobs[N]['result']>

export const jobs: { readonly [N in JobName]: WorkerJob<N> } = {
  check,
  convert: convertModel,
  unfinished,
  forget,
  pack,
  look,
  learn,
  meet,
  write,
  recall,
}
