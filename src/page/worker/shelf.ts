/** Folders that jobs keep work and results in: in the browser's storage, else in memory. */

import type { Source } from '../../io/files.ts'
import { type Folder, memoryFolder } from '../../web/memory.ts'
import { hasStorage, removeStored, storageSink, storageSource } from '../../web/storage.ts'

/** Folders by name. */
export interface Shelf {
  /** Whether what is on it stays when the tab is closed. */
  readonly lasts: boolean
  folder(name: string): Folder
  /** Removes a folder, where there is one. */
  remove(name: string): Promise<void>
}

/** The browser's storage, where the page has any. */
export async function openShelf(): Promise<Shelf> {
  if (await hasStorage()) {
    return {
      lasts: true,
      folder: (name) => ({ ...storageSource(name), write: storageSink(name).write }),
      remove: removeStored,
    }
  }
  const folders = new Map<string, Folder>()
  return {
    lasts: false,
    folder(name) {
      const found = folders.get(name) ?? memoryFolder(name)
      folders.set(name, found)
      return found
    },
    async remove(name) {
      folders.delete(name)
    },
  }
}

const pieceBytes = 2 ** 23

/** Copies all files of a folder into another. */
export async function copyInto(to: Folder, from: Source, prefix = ''): Promise<void> {
  for (const path of await from.list()) await to.write(prefix + path, piecesOf(from, path))
}

async function* piecesOf(from: Source, path: string): AsyncGenerator<Uint8Array> {
  const size = await from.size(path)
  for (let at = 0; at < size; at += pieceBytes) yield from.read(path, at, Math.min(size, at + pieceBytes))
}
