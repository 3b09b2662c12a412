/** What a person calls a model by: a folder, or a GGUF file. */

import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { Source } from '../io/files.ts'
import { ggufFolder, modelFolder } from '../io/ggufFolder.ts'
import { folderSource } from './files.ts'

/**
 * The model folder that a path means: a folder as it is, or a GGUF file as what it stands for.
 * @throws Error when there is no such folder or file, or the folder has several GGUF files and no config.json.
 */
export async function openSource(path: string): Promise<Source> {
  const isFile = (await stat(path).catch(() => undefined))?.isFile()
  if (isFile && path.endsWith('.gguf')) return ggufFolder(folderSource(dirname(path)), basename(path))
  return modelFolder(folderSource(path))
}
