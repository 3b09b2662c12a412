/** Opens what a {@link ModelRef} means. */

import type { Job } from '../../base/progress.ts'
import { random } from '../../base/random.ts'
import { linearize } from '../../convert/linearize.ts'
import type { Source } from '../../io/files.ts'
import { modelFolder } from '../../io/ggufFolder.ts'
import { openSafetensors } from '../../io/safetensors.ts'
import { zipFolder } from '../../io/zipFolder.ts'
import { readJson } from '../../models/folder.ts'
import type { Model } from '../../models/model.ts'
import { loadWriting, type Writing } from '../../models/writing.ts'
import { filesSource } from '../../web/files.ts'
import { storageSource } from '../../web/storage.ts'
import { conversionsFolder, type ModelRef } from '../models.ts'
import type { Host } from './host.ts'

/** The model folder that a reference means. @throws Error that says what a model folder has, for another one. */
export async function* openRef(host: Host, ref: ModelRef): Job<Source> {
  const source = yield* foundAt(host, ref)
  const files = await source.list()
  if (files.includes('config.json') || files.some((name) => name.endsWith('.gguf'))) return modelFolder(source)
  const has = files.length === 0 ? 'nothing' : files.slice(0, 3).join(', ')
  throw new Error(
    `${source.name}: is no model folder, it has no config.json but ${has}; ` +
      'drop a folder with config.json, tokenizer.json and model.safetensors, a GGUF file, or a zip that was saved here',
  )
}

async function* foundAt(host: Host, ref: ModelRef): Job<Source> {
  if (ref.kind === 'site') return yield* host.folder(ref.folder)
  if (ref.kind === 'files') return filesSource(ref.name, ref.files)
  if (ref.kind === 'zip') return zipFolder(filesSource(ref.name, { [ref.name]: ref.file }), ref.name)
  return storageSource(`${conversionsFolder}/${ref.name}`)
}

/** Reads a language model with all that it takes to write; the maps of a site's model that is converted are put in. */
export async function* openModel(host: Host, ref: ModelRef): Job<Writing> {
  const writing = await loadWriting(yield* openRef(host, ref))
  if (ref.kind !== 'site' || ref.maps === undefined) return writing
  return { ...writing, model: yield* withMaps(host, writing.model, ref.maps) }
}

/** A teacher with maps in a file of `models/tiny-maps`. */
export async function* withMaps(host: Host, teacher: Model, file: string): Job<Model> {
  const folder = yield* host.folder('models/tiny-maps')
  const { map } = await readJson(folder, 'maps.json')
  const student = linearize(teacher, String(map), random(0))
  const stored = await openSafetensors(folder, file)
  const maps: Record<string, Model['params'][string]> = {}
  for (const name of stored.names) maps[name] = await stored.tensor(name)
  return { ...student, params: { ...student.params, ...maps } }
}
