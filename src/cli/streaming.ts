/** Models that are run within a given memory: what is outside of blocks is loaded, blocks are read as they are needed. */

import { mostDemanding, type PlannedRun, planMemory, planText } from '../execute/memoryPlan.ts'
import type { Source } from '../io/files.ts'
import { bytesOf, type ModelFiles, openModelFiles, pathsOf, readOuter } from '../models/files.ts'
import type { Model } from '../models/model.ts'
import { freeMemory } from '../node/freeMemory.ts'
import { type StreamedBlocks, streamedBlocks } from '../node/streamedBlocks.ts'
import type { Context } from './command.ts'

/** A model folder and what of it is in memory. */
export interface StreamedModel {
  readonly files: ModelFiles
  /** The parameters outside of blocks. */
  readonly model: Model
  /**
   * Plans runs that follow each other by the one that needs the most, tells the plan, and begins to read.
   * @throws RangeError saying the smallest memory that works
   */
  plan(...runs: readonly StreamedRun[]): StreamedBlocks
}

/** What is planned of a run, besides the model and its memory. */
export type StreamedRun = Omit<PlannedRun, 'config' | 'outerBytes' | 'blockBytes' | 'memory'>

/**
 * Opens a model for a memory: by default all that is free, which is then not told.
 * @param path what `openSource` knows it by
 */
export async function openStreamed(
  context: Pick<Context, 'say'>,
  path: string,
  source: Source,
  memory: number | undefined,
): Promise<StreamedModel> {
  const files = await openModelFiles(source)
  const { config } = files
  return {
    files,
    model: { config, params: await readOuter(files) },
    plan(...runs) {
      const outerBytes = bytesOf(files, pathsOf(files))
      const blockBytes = Math.max(...config.attention.map((_, layer) => bytesOf(files, pathsOf(files, layer))))
      const given = { config, outerBytes, blockBytes, memory: memory ?? freeMemory() }
      const plan = planMemory(mostDemanding(runs.map((run) => ({ ...run, ...given }))))
      if (memory !== undefined) context.say(planText(plan))
      return streamedBlocks(path, config, { resident: plan.resident })
    },
  }
}
