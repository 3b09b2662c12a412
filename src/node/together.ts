/** Files that belong together, put into a folder so that it has the old ones or the new ones, whenever a process ends. */

import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Sink } from '../io/files.ts'
import { folderSink, folderSource, removeTemporaries, syncFolder } from './files.ts'

/** Where new files wait, below the folder that they are for. */
const waiting = '.new'
/** Written after all of them: from then on they are what the folder holds. */
const mark = '.whole'
/** What a finished job's own files are called while they are removed. */
const discarded = '.old'

/**
 * Writes the files of a result together: an older result in the folder stays whole until all of the new one is on disk.
 * A process that ends in between leaves one or the other to {@link tidyFolder}.
 * @throws Error naming the file that could not be written; then nothing has changed.
 */
export async function writeTogether(path: string, write: (sink: Sink) => Promise<void>): Promise<void> {
  const beside = join(path, waiting)
  try {
    await rm(beside, { recursive: true, force: true })
    await write(folderSink(beside))
    await folderSink(beside).write(mark, [])
  } catch (error) {
    await rm(beside, { recursive: true, force: true })
    throw error
  }
  await putInPlace(path)
}

/** Puts files in place that a process which ended had written, all of them or none, and removes what it left unfinished. */
export async function tidyFolder(path: string): Promise<void> {
  if (!(await stat(path).catch(() => undefined))?.isDirectory()) return
  if (await isThere(join(path, waiting, mark))) await putInPlace(path)
  else await rm(join(path, waiting), { recursive: true, force: true })
  await rm(join(path, discarded), { recursive: true, force: true })
  await removeTemporaries(path)
}

/** Whether files wait to be put in place: what the folder holds belongs together only after {@link tidyFolder}. */
export const isHalfWritten = (path: string): Promise<boolean> => isThere(join(path, waiting, mark))

/** Removes a folder inside of another as a whole. */
export async function discard(path: string, folder: string): Promise<void> {
  const away = join(path, discarded)
  await rm(away, { recursive: true, force: true })
  await rename(join(path, folder), away).catch(ignoreMissing)
  await syncFolder(path)
  await rm(away, { recursive: true, force: true })
}

async function putInPlace(path: string): Promise<void> {
  const beside = join(path, waiting)
  const files = (await folderSource(beside).list()).filter((file) => file !== mark)
  for (const file of files) {
    await mkdir(dirname(join(path, file)), { recursive: true })
    // A file that is missing was put in place before.
    await rename(join(beside, file), join(path, file)).catch(ignoreMissing)
  }
  for (const folder of new Set(files.map((file) => dirname(join(path, file))))) await syncFolder(folder)
  // The mark goes last, with the folder that it is in.
  await rm(join(path, discarded), { recursive: true, force: true })
  await rename(beside, join(path, discarded)).catch(ignoreMissing)
  await syncFolder(path)
  await rm(join(path, discarded), { recursive: true, force: true })
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
