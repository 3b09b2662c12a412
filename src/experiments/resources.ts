/** The folders that an experiment needs: found, or asked for in words before any work. */

import type { Source } from '../io/files.ts'
import { type DatasetName, datasets } from '../tasks/datasets.ts'
import type { Setup } from './experiment.ts'

/**
 * The folder of --data; none where the experiment is quick and has data of its own.
 * @throws Error that says which folder is wanted and where to get it.
 */
export function dataOf(
  { quick, resources }: Pick<Setup, 'quick' | 'resources'>,
  name: DatasetName,
): Source | undefined {
  if (resources.data || quick) return resources.data
  const { folder, url } = datasets[name]
  throw new Error(`--data: is missing, want the folder ${folder} of ${url}`)
}

/**
 * The folder of --model; none where the experiment is quick and trains a small model instead.
 * @param url of the model that is wanted
 * @throws Error that says which folder is wanted and where to get it.
 */
export function modelOf({ quick, resources }: Pick<Setup, 'quick' | 'resources'>, url: string): Source | undefined {
  if (resources.model || quick) return resources.model
  throw new Error(`--model: is missing, want the folder of ${url}`)
}
