/** Models that are run within a given memory: what is outside of blocks is loaded, blocks are read as they are needed. */

import { tmpdir } from 'node:os'
import type { Streams } from '../execute/backward.ts'
import { type PlannedRun, planMemory, planText } from '../execute/memoryPlan.ts'
import { savedBytes } from '../execute/saved.ts'
import type { Sink, Source } from '../io/files.ts'
import {
  bytesOf,
  type ModelFiles,
  openModelFiles,
  pathsOf,
  readOuter,
  saveFrom,
  storedBytesOf,
  withParams,
} from '../models/files.ts'
import type { Model, ModelConfig } from '../models/model.ts'
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

/** Blocks within a plan, and what of a pass stays in memory. Blocks and states on disk end together. */
export interface PlannedBlocks extends Pick<StreamedBlocks, 'reading' | 'dispose'> {
  readonly streams: Streams & Pick<Required<Streams>, 'blocks'>
}

/** What is planned of a run, besides the model and its memory. */
export type StreamedRun = Omit<
  PlannedRun,
  'config' | 'outerBytes' | 'blockBytes' | 'storedBytes' | 'savedBytes' | 'memory'
>

/** How a model is run. */
export interface StreamedOptions {
  /** Bytes that may be used; default: all that is free, which is then not told. */
  readonly memory?: number | undefined
  /** Where states between blocks are that do not fit. */
  readonly folder?: string
  /** The device's name: not every one has float16. Default cpu. */
  readonly device?: string | undefined
}

/** Opens a model for a memory. @param path what `openSource` knows it by */
export async function openStreamed(
  context: Pick<Context, 'say'>,
  path: string,
  source: Source,
  { memory, folder = tmpdir(), device = 'cpu' }: StreamedOptions,
): Promise<StreamedModel> {
  const files = await openModelFiles(source)
  const { config } = files
  const float16 = device === 'cpu'
  return {
    files,
    model: { config, params: await readOuter(files) },
    plan(...runs) {
      const blocks = config.attention.map((_, layer) => pathsOf(files, layer))
      const given = {
        ...{ config, outerBytes: bytesOf(files, pathsOf(files)), memory: memory ?? freeMemory() },
        blockBytes: Math.max(...blocks.map((paths) => bytesOf(files, paths))),
        ...(float16 && { storedBytes: Math.max(...blocks.map((paths) => storedBytesOf(files, paths))) }),
      }
      const plan = planMemory(...runs.map((run) => ({ ...run, ...given, savedBytes: savedOf(config, run) })))
      if (memory !== undefined) context.say(planText(plan))
      const read = streamedBlocks(path, config, { resident: plan.resident, float16 })
      if (plan.spilled > 0) return withStates(read, folder)
      const { reading, dispose } = read
      return { streams: { blocks: read, savedLayers: plan.savedLayers }, reading, dispose }
    },
  }
}

/** What a block could keep for a way back; other passes have none. */
function savedOf(config: ModelConfig, run: StreamedRun): number {
  return run.pass === 'finetune' ? savedBytes(config, run) : 0
}

/** What blocks and states waited for counts as one. */
function withStates(blocks: StreamedBlocks, folder: string): PlannedBlocks {
  const states = spilledStates(folder)
  return {
    streams: { blocks, states },
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
