/** Checkpoints of a training run: one safetensors file, replaced as a whole, that a run goes on from bit for bit. */

import type { FloatArray, Params } from '../base/array.ts'
import { digestOf } from '../base/digest.ts'
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
  const text = JSON.stringify(rest)
  const metadata = { fingerprint, state: text, digest: digestOfState(fingerprint, text, arrays) }
  await writeSafetensors(sink, path, arrays, { dtype: 'float32', metadata })
}

/** What a checkpoint holds, in short: a file whose bytes changed on the disk is not gone on from. */
function digestOfState(fingerprint: string, state: string, arrays: Params): string {
  const named = Object.keys(arrays).sort()
  return digestOf([fingerprint, state, ...named.flatMap((name) => [name, arrays[name]!.data])])
}

/** Reads a checkpoint. @throws Error naming the file when it is missing, broken, or not what was written. */
export async function loadCheckpoint(source: Source, path: string): Promise<Checkpoint> {
  const file = await openSafetensors(source, path)
  const { fingerprint, state, digest } = file.metadata
  if (!state || !fingerprint || !digest) {
    throw new Error(`${source.name}: ${path}: is no checkpoint of a training run`)
  }
  const arrays: Record<string, FloatArray> = {}
  for (const name of file.names) arrays[name] = await file.tensor(name)
  if (digestOfState(fingerprint, state, arrays) !== digest) {
    throw new Error(`${source.name}: ${path}: is damaged: it does not hold what was written; start anew`)
  }
  const slots: Record<string, Params> = {}
  for (const name of Object.keys(below('slots/', arrays))) {
    const slot = name.slice(0, name.indexOf('/'))
    slots[slot] ??= below(`slots/${slot}/`, arrays)
  }
  return {
    state: { ...(parsed(state) as Omit<TrainState, 'params' | 'slots'>), params: below('params/', arrays), slots },
    fingerprint,
  }
}

/**
 * The state to resume from.
 * @throws Error when the checkpoint was written by a job with other settings.
 */
export async function resumeFrom(source: Source, path: string, fingerprint: string): Promise<TrainState> {
  const checkpoint = await loadCheckpoint(source, path)
  checkFingerprint(source.name, path, checkpoint.fingerprint, fingerprint)
  return checkpoint.state
}

/** @throws Error naming the settings that differ between the job that wrote a file and this one. */
export function checkFingerprint(where: string, path: string, was: string, now: string): void {
  if (was === now) return
  throw new Error(
    `${where}: ${path}: was written by a job with other settings: ${differences(parsed(was), parsed(now)).join(', ')}; ` +
      'resume with the same options and data, or start anew in another folder',
  )
}

function parsed(text: string): object {
  try {
    return Object(JSON.parse(text))
  } catch {
    throw new Error('checkpoint: its metadata is damaged; start anew')
  }
}

/** Which settings differ, e.g. `recipe.steps was 100, now 200`. */
function differences(was: object, now: object, prefix = ''): string[] {
  const [old, own] = [was, now] as Record<string, unknown>[] as [Record<string, unknown>, Record<string, unknown>]
  return [...new Set([...Object.keys(was), ...Object.keys(now)])].flatMap((key) => {
    const [before, after] = [old[key], own[key]]
    if (JSON.stringify(before) === JSON.stringify(after)) return []
    if (isRecord(before) && isRecord(after)) return differences(before, after, `${prefix}${key}.`)
    return [`${prefix}${key} was ${JSON.stringify(before)}, now ${JSON.stringify(after)}`]
  })
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
