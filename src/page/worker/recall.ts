/** Training a small decoder on associative recall, as the experiment of that name does. */

import { settingsOf } from '../../experiments/experiment.ts'
import { recallExperiments, smallRecall, trainedAt } from '../../experiments/recall.ts'
import type { WorkerJob } from './job.ts'

export const recall: WorkerJob<'recall'> = async function* ({ device: name, map, seed, ...changed }, host, signal) {
  const settings = settingsOf(recallExperiments['associative-recall'], false, changed)
  // The graphs are small, and another training runs beside this one.
  const device = await host.device(name, 1)
  const setup = { device, settings, seed, clock: host.clock, signal }
  const { accuracy, steps } = yield* trainedAt(map, settings.fastest!, setup, smallRecall.draw)
  return { accuracy, steps }
}
