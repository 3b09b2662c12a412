/** States on disk: one small safetensors file that says which model and tokenizer it belongs to. */

import type { FloatArray } from '../base/array.ts'
import type { Sink, Source } from '../io/files.ts'
import { openSafetensors, writeSafetensors } from '../io/safetensors.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Identity } from './fingerprint.ts'
import type { Generator, State } from './state.ts'

/** The format of the file; it changes when an old file would be misread. */
const version = '1'

/** Options of {@link saveState}. */
export interface SaveStateOptions {
  /** Plain JSON to keep beside the state, e.g. the conversation that it has read. */
  readonly note?: unknown
}

/** What {@link loadState} gives. */
export interface StoredState {
  readonly state: State
  /** What was kept beside it. */
  readonly note: unknown
}

/**
 * Writes a state of one sequence; it is not used up.
 * @throws RangeError for a state of several: split it first.
 */
export async function saveState(
  sink: Sink,
  path: string,
  { positions, layers }: State,
  identity: Identity,
  { note = null }: SaveStateOptions = {},
): Promise<void> {
  if (positions.length !== 1) {
    throw new RangeError(`saveState: got a state of ${positions.length} sequences, want 1; split it first`)
  }
  const arrays: Record<string, FloatArray> = {}
  for (const [layer, kept] of layers.entries()) Object.assign(arrays, prefixed(`layers.${layer}.`, kept))
  const metadata = {
    format: 'hedgehog-state',
    version,
    ...identity,
    position: String(positions[0]),
    note: JSON.stringify(note),
  }
  await writeSafetensors(sink, path, arrays, { metadata })
}

/**
 * Reads a state that the same model and tokenizer made.
 * @throws Error naming the file and what differs when it is of another model, tokenizer or version, or is damaged.
 */
export async function loadState(
  source: Source,
  path: string,
  generator: Generator,
  identity: Identity,
): Promise<StoredState> {
  const where = `${source.name}/${path}`
  const file = await openSafetensors(source, path)
  const { metadata } = file
  if (metadata.format !== 'hedgehog-state') throw new Error(`${where}: is no saved state; want a file of saveState`)
  if (metadata.version !== version) {
    throw new Error(`${where}: is a state of version ${metadata.version}, want ${version}; read the text again`)
  }
  checkIdentity(where, metadata, identity)
  const arrays: Record<string, FloatArray> = {}
  for (const name of file.names) arrays[name] = await file.tensor(name)
  const layers = generator.config.attention.map((_, layer) => below(`layers.${layer}.`, arrays))
  const known = layers.reduce((count, kept) => count + Object.keys(kept).length, 0)
  if (known !== file.names.length) {
    throw new Error(`${where}: has ${file.names.length} arrays, want ${known}; the file is damaged`)
  }
  try {
    return {
      state: generator.restore(Number(metadata.position || Number.NaN), layers),
      note: JSON.parse(metadata.note ?? 'null'),
    }
  } catch (error) {
    throw new Error(`${where}: is damaged: ${(error as Error).message}`, { cause: error })
  }
}

const parts: Readonly<Record<keyof Identity, string>> = {
  config: 'a model with another config',
  weights: 'a model with other weights',
  tokenizer: 'a model with another tokenizer',
}

function checkIdentity(where: string, metadata: Readonly<Record<string, string>>, identity: Identity): void {
  for (const [part, what] of Object.entries(parts) as [keyof Identity, string][]) {
    if (metadata[part] === identity[part]) continue
    throw new Error(
      `${where}: is a state of ${what} (${part} ${metadata[part]}, want ${identity[part]}); ` +
        'use the model that made it, or read the text again',
    )
  }
}
