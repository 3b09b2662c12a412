/** Feature maps as they learned: the checkpoints that come with the page, and their values in a model. */

import { isMapPath } from '../../attention/mapParams.ts'
import type { Params } from '../../base/array.ts'
import type { Source } from '../../io/files.ts'
import { openSafetensors } from '../../io/safetensors.ts'
import type { Model } from '../../models/model.ts'

/** Feature maps of a folder `step-N.safetensors` by their step, read when they are asked for. */
export interface MapSteps {
  /** Rising. */
  readonly steps: readonly number[]
  read(step: number): Promise<Params>
}

export async function mapSteps(source: Source): Promise<MapSteps> {
  const named = (await source.list()).flatMap((path) => /^step-(\d+)\.safetensors$/.exec(path)?.[1] ?? [])
  return {
    steps: named.map(Number).sort((a, b) => a - b),
    async read(step) {
      const file = await openSafetensors(source, `step-${step}.safetensors`)
      const params: Record<string, Params[string]> = {}
      for (const path of file.names) params[path] = await file.tensor(path)
      return params
    },
  }
}

/** The model with some of its maps' values replaced. */
export function withParams(model: Model, maps: Params): Model {
  const own = Object.entries(maps).filter(([path]) => isMapPath(path) && path in model.params)
  return { ...model, params: { ...model.params, ...Object.fromEntries(own) } }
}
