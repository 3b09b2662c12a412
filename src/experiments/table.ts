/** The table of experiments: what the paper measures, each an entry with its data, settings and published numbers. */

import { efficiencyExperiments } from './efficiency.ts'
import type { Experiment } from './experiment.ts'
import { fidelityExperiments } from './fidelity.ts'
import { glueExperiments } from './glue.ts'
import { languageExperiments } from './language.ts'
import { longRangeExperiments } from './longRange.ts'
import { pictureExperiments } from './pictures.ts'
import { recallExperiments } from './recall.ts'
import { summaryExperiments } from './summaries.ts'
import { textExperiments } from './texts.ts'

/** Experiments by name, in the paper's order. */
export const experiments: Readonly<Record<string, Experiment>> = {
  ...recallExperiments,
  ...languageExperiments,
  ...summaryExperiments,
  ...fidelityExperiments,
  ...glueExperiments,
  ...pictureExperiments,
  ...longRangeExperiments,
  ...textExperiments,
  ...efficiencyExperiments,
}

/** The experiment of a name. @throws RangeError naming the known ones. */
export function experimentNamed(name: string): Experiment {
  const found = Object.hasOwn(experiments, name) ? experiments[name] : undefined
  if (found) return found
  throw new RangeError(`experiment: got ${name}, want one of ${Object.keys(experiments).join(', ')}`)
}
