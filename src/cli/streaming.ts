/** Models that are run within a given memory: what is outside of blocks is loaded, blocks are read as they are needed. */

import { tmpdir } from 'node:os'
import { type PlannedRun, planMemory, planText } from '../execute/memoryPlan.ts'
import type { StateStore } from '../execute/states.ts'
import type { Sink, Source } from '../io/files.ts'
import { bytesOf, type ModelFiles, openModelFiles, pathsOf, readOuter, saveFrom, withParams } from '../models/files.ts'
import type { Model } from '../models/model.ts'
import { freeMemory } from '../node/freeMemory.ts'
import { spilledStates } from '../node/spilledStates.ts'
import { type StreamedBlocks, streamedBlocks } from '../node/streamedBlocks.ts'
import type { Device } from '../runtime/device.ts'
import { adapterTrains } from '../train/lora.ts'
import { mergedFiles } from '../train/mergeLora.ts'
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
  plan(...runs: readonly StreamedRun[]): PlannedBlocks
}

/** Blocks within a plan. What they waited for are weights and states; both end together. */
export interface PlannedBlocks extends StreamedBlocks {
  /** Keeps the states between blocks, where they do not fit into the memory. */
  readonly states?: StateStore
}

/** What is planned of a run, besides the model and its memory. */
export type StreamedRun = Omit<PlannedRun, 'config' | 'outerBytes' | 'blockBytes' | 'memory'>

/**
 * Opens a model for a memory: by default all that is free, which is then not told.
 * @param path what `openSource` knows it by
 * @param folder where states between blocks are that do not fit
 */
export async function openStreamed(
  context: Pick<Context, 'say'>,
  path: string,
  source: Source,
  memory: number | undefined,
  folder = tmpdir(),
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
      const plan = planMemory(...runs.map((run) => ({ ...run, ...given })))
      if (memory !== undefined) context.say(planText(plan))
      const blocks = streamedBlocks(path, config, { resident: plan.resident })
      return plan.spilled > 0 ? withStates(blocks, folder) : blocks
    },
  }
}

function withStates(blocks: StreamedBlocks, folder: string): PlannedBlocks {
  const states = spilledStates(folder)
  return {
    ...blocks,
    states,
    reading() {
      const { waited, ...read } = blocks.reading()
      return { ...read, waited: waited + states.waited() }
    },
    async dispose() {
      await blocks.dispose()
      await states.dispose()
    },
  }
}

/** What learned of a model, without the weights that it stands beside. */
export function learnedOf({ config, params }: Model): Model {
  const learns = adapterTrains(config)
  return { config, params: Object.fromEntries(Object.entries(params).filter(([path]) => learns(path))) }
}

/** A model of which only a part is in memory, and what it takes to write it. */
export interface PartlyRead {
  readonly device: Device
  /** Has all weights as they were before. */
  readonly files: ModelFiles
  /** What is outside of blocks, and what learned. */
  readonly model: Model
  readonly tokenizer: unknown
}

/**
 * Writes a model, its adapter merged into each weight when it is read.
 * @throws Error when the merged model computes something else.
 */
export async function saveMerged(sink: Sink, { device, files, model, tokenizer }: PartlyRead): Promise<void> {
  const stored = withParams(files, learnedOf(model))
  // What is in memory is not read again.
  const read: ModelFiles['read'] = async (path, into) => model.params[path] ?? stored.read(path, into)
  const whole = { ...stored, read }
  const merged = model.config.adapter ? await mergedFiles(device, whole) : { ...whole, dispose: async () => {} }
  try {
    await saveFrom(sink, merged, { config: merged.config, params: {} }, { tokenizer })
  } finally {
    await merged.dispose()
  }
}
