/** What a person calls a model by: a folder, a GGUF file, a zip, or a name on the Hugging Face Hub. */

import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { Job } from '../base/progress.ts'
import type { Source } from '../io/files.ts'
import { ggufFolder, modelFolder } from '../io/ggufFolder.ts'
import { zipFolder } from '../io/zipFolder.ts'
import { folderSource } from './files.ts'
import type { HubOptions } from './hub.ts'
import { parseHubId } from './hubId.ts'
import { isHalfWritten, tidyFolder } from './together.ts'

/**
 * The model folder that a name means: a folder as it is, a GGUF file as what it stands for, a zip as the folder in it, and `hub:owner/name`, or
 * `owner/name` where there is no such folder, as a model of the Hub, which is downloaded unless the cache has it.
 * `@revision` and `/file.gguf` may follow a name on the Hub.
 * @throws Error when there is no such folder, file or model, or several GGUF files and nothing else.
 */
export async function* openSource(name: string, options: HubOptions = {}): Job<Source> {
  const found = name.startsWith('hub:') ? undefined : await stat(name).catch(() => undefined)
  if (found?.isFile() && name.endsWith('.gguf')) return ggufFolder(folderSource(dirname(name)), basename(name))
  if (found?.isFile() && name.endsWith('.zip')) {
    return modelFolder(await zipFolder(folderSource(dirname(name)), basename(name)))
  }
  const id = found ? undefined : parseHubId(name)
  if (!id && name.startsWith('hub:')) {
    throw new Error(`${name}: want hub:owner/name, hub:owner/name@revision or hub:owner/name/file.gguf`)
  }
  if (!id) {
    // A process that ended while it replaced a model's files has left old and new ones.
    if (await isHalfWritten(name)) await tidyFolder(name)
    return modelFolder(folderSource(name))
  }
  // Most runs need no Hub: its library is loaded when one does.
  const { hubFolder } = await import('./hub.ts')
  try {
    return await modelFolder(yield* hubFolder(id, options))
  } catch (error) {
    if (name.startsWith('hub:')) throw error
    throw new Error(`${name}: no such folder; ${(error as Error).message}`, { cause: error })
  }
}
