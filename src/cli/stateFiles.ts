/** States in files that a person names: what `generate` and `chat` keep of a text to go on from. */

import { basename, dirname } from 'node:path'
import { identityOf } from '../generate/fingerprint.ts'
import type { Generator, State } from '../generate/state.ts'
import { loadState, saveState } from '../generate/stateFile.ts'
import type { Loaded } from '../models/writing.ts'
import { folderSink, folderSource } from '../node/files.ts'

/** A state and what it has not read yet; `note` is plain JSON beside it. */
export interface KeptText {
  readonly state: State
  readonly unread: readonly number[]
  readonly note: unknown
}

/** Writes a state. @throws Error naming the file when it cannot be written. */
export async function saveText(path: string, { model, tokenizer }: Loaded, kept: KeptText): Promise<void> {
  const note = { unread: kept.unread, note: kept.note }
  await saveState(folderSink(dirname(path)), basename(path), kept.state, await identityOf(model, tokenizer), { note })
}

/** Reads a state. @throws Error naming the file when it is missing, damaged, or of another model or tokenizer. */
export async function loadText(path: string, { model, tokenizer }: Loaded, generator: Generator): Promise<KeptText> {
  const source = folderSource(dirname(path))
  const stored = await loadState(source, basename(path), generator, await identityOf(model, tokenizer))
  const { unread, note } = Object(stored.note) as { readonly unread?: unknown; readonly note?: unknown }
  const isId = (id: unknown): id is number => Number.isInteger(id) && Number(id) >= 0 && Number(id) < model.config.vocab
  if (!Array.isArray(unread) || !unread.every(isId)) {
    throw new Error(`${path}: is no state of hedgehog generate or chat`)
  }
  return { state: stored.state, unread, note: note ?? null }
}
