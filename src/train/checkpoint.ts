/** Checkpoints of a training run: one safetensors file, replaced as a whole, that a run goes on from bit for bit. */

import type { FloatArray, Params } from '../base/array.ts'
import type { Sink, Source } from '../io/files.ts'
import { openSafetensors, writeSafetensors } from '../io/safetensors.ts'
import { below, prefixed } from '../nn/params.ts'
import type { TrainState } from './train.ts'

/** A checkpoint as it was read. */
export interface Checkpoint {
  readonly state: TrainState
  /** What the job that wrote it was asked to do; a job of another fingerprint must not go on from it. */
  readonly fingerprint: string
}

/** Writes a checkpoint in place of the last one. */
export async function saveCheckpoint(sink: Sink, path: string, state: TrainState, fingerprint: string): Promise<void> {
  const { params, slots, ...rest } = state
  const arrays: Record<string, FloatArray> = prefixed('params/', params)
  for (const [slot, found] of Object.entries(slots)) Object.assign(arrays, prefixed(`slots/${slot}/`, found))
  const metadata = { fingerprint, state: JSON.stringify(rest) }
  await writeSafetensors(sink, path, arrays, { dtype: 'float32', metadata })
}

/** Reads a checkpoint. @throws Error naming the file when it is missing or broken. */
export async function loadCheckpoint(source: Source, path: string): Promise<Checkpoint> {
  const file = await openSafetensors(source, path)
  const { fingerprint, state } = file.metadata
  if (!state || !fingerprint) throw new Error(`${source.name}: ${path}: is no checkpoint of a training run`)
  const arrays: Record<string, FloatArray> = {}
  for (const name of file.names) arrays[name] = await file.tensor(name)
  const slots: Record<string, Params> = {}
  for (const name of Object.keys(below('slots/', arrays))) {
    const slot = name.slice(0, name.indexOf('/'))
    slots[slot] ??= below(`slots/${slot}/`, arrays)
  }
  return { state: { ...JSON.parse(state), params: below('params/', arrays), slots }, fingerprint }
}

/**
 * The state to resume from.
 * @throws Error when the checkpoint was written by a job with other settings.
 */
export async function resumeFrom(source: Source, path: string, fingerprint: string): Promise<TrainState> {
  const checkpoint = await loadCheckpoint(source, path)
  if (checkpoint.fingerprint === fingerprint) return checkpoint.state
  throw new Error(
    `${source.name}: ${path}: was written by a job with other settings (${checkpoint.fingerprint}), ` +
      `want ${fingerprint}; resume with the same options or start anew in another folder`,
  )
}
