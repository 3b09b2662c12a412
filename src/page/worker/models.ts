/** Opens what a {@link ModelRef} means. */

import type { Job } from '../../base/progress.ts'
import { random } from '../../base/random.ts'
import { linearize } from '../../convert/linearize.ts'
import type { Source } from '../../io/files.ts'
import { modelFolder } from '../../io/ggufFolder.ts'
import type { Model } from '../../models/model.ts'
import { loadWriting, type Writing } from '../../models/writing.ts'
import { filesSource } from '../../web/files.ts'
import { storageSource } from '../../web/storage.ts'
import { conversionsFolder, type ModelRef } from '../models.ts'
import type { Host } from './host.ts'
import { mapSteps, withParams } from './mapSteps.ts'

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
  if (ref.kind === 'zip') {
    const { zipFolder } = await import('../../io/zipFolder.ts')
    return zipFolder(filesSource(ref.name, { [ref.name]: ref.file }), ref.name)
  }
  return storageSource(`${conversionsFolder}/${ref.name}`)
}

/** Bytes of weights that a tab can work with: WebAssembly has 4 GiB in all. */
export const mostWeights = 1.5e9

/** Reads a language model with all that it takes to write; the maps of a site's model that is converted are put in. */
export async function* openModel(host: Host, ref: ModelRef): Job<Writing> {
  const writing = await loadWriting(yield* openRef(host, ref), { memory: mostWeights })
  if (ref.kind !== 'site' || !ref.converted) return writing
  return { ...writing, model: yield* withMaps(host, writing.model) }
}

/** The map that the folder `models/tiny-maps` has checkpoints of. */
const learnedMap = 'hedgehog'

/** A teacher with the maps of the last checkpoint of `models/tiny-maps` in place of softmax. */
export async function* withMaps(host: Host, teacher: Model): Job<Model> {
  const { steps, read } = await mapSteps(yield* host.folder('models/tiny-maps'))
  return withParams(linearize(teacher, learnedMap, random(0)), await read(steps.at(-1)!))
}
