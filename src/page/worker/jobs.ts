/** The table of what a worker can do. */

import { learn, look } from '../attention/jobs.ts'
import { meet, write } from '../chat/jobs.ts'
import type { JobName } from '../protocol.ts'
import { check } from './check.ts'
import { convertModel, forget, pack, unfinished } from './convert.ts'
import type { WorkerJob } from './job.ts'
import { recall } from './recall.ts'

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
