/** What commands that train share: a run with checkpoints in the output folder that an interruption leaves resumable. */

import { join } from 'node:path'
import { Interrupted, UsageError } from '../base/errors.ts'
import type { Job } from '../base/progress.ts'
import type { Sink } from '../io/files.ts'
import { folderSource } from '../node/files.ts'
import { resumeFrom, saveCheckpoint } from '../train/checkpoint.ts'
import type { RunOptions } from '../train/pretrain.ts'
import type { Context } from './command.ts'
import { clock, makeFolder, openOutput } from './inputs.ts'

/** The file of a training's state in its output folder. */
const checkpointFile = 'checkpoint.safetensors'
const ownFiles = [checkpointFile, 'tokenizer.json', 'training.json', 'model.safetensors', 'config.json']

/** Options that all commands that train have. */
export interface TrainingOptions {
  readonly out: string
  readonly force: boolean
  readonly resume: boolean
  readonly minutes?: number
  readonly checkpointEvery?: number
}

/**
 * The folder for a training's results.
 * @throws UsageError when there is nothing to resume, or files that would be replaced.
 */
export async function openTraining({ out, force, resume }: TrainingOptions): Promise<Sink> {
  if (resume) await checkResumable(out)
  return openOutput(out, { replace: force, own: resume ? ownFiles : [] })
}

/**
 * Runs a training with checkpoints.
 * @param fingerprint what the job was asked to do, as JSON: a checkpoint of another job is not resumed.
 * @throws Interrupted saying how to go on; Error when the checkpoint is another job's.
 */
export async function runTraining<T>(
  context: Context,
  sink: Sink,
  { out, resume, minutes, checkpointEvery = 200 }: TrainingOptions,
  fingerprint: string,
  start: (run: Omit<RunOptions, 'phase'>) => Job<T>,
): Promise<T> {
  const state = resume ? await resumeFrom(folderSource(out), checkpointFile, fingerprint) : undefined
  await makeFolder(out)
  const job = start({
    clock,
    signal: context.signal,
    ...(state && { resume: state }),
    ...(minutes !== undefined && { maxSeconds: minutes * 60 }),
    checkpoint: { every: checkpointEvery, save: (found) => saveCheckpoint(sink, checkpointFile, found, fingerprint) },
  })
  return context.run(job).catch((error: unknown) => {
    if (!(error instanceof Interrupted)) throw error
    const again = resume ? context.commandLine : `${context.commandLine} --resume`
    throw new Interrupted(`${error.message}; saved in ${join(out, checkpointFile)}; go on with: ${again}`)
  })
}

async function checkResumable(out: string): Promise<void> {
  const files = await folderSource(out)
    .list()
    .catch((): readonly string[] => [])
  if (files.includes(checkpointFile)) return
  throw new UsageError(`--resume: ${out} has no ${checkpointFile} to go on from; leave out --resume to begin`)
}
