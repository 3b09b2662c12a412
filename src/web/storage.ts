/** Folders in the browser's own storage (OPFS), where work is kept when a tab is closed. */

import type { Sink, Source } from '../io/files.ts'
import { readBlob } from './files.ts'

/** A folder of the browser's storage; nothing in it is an empty folder. */
export function storageSource(folder: string): Source {
  const fileOf = async (path: string): Promise<File> => {
    const parent = await parentOf(folder, path, false)
    const handle = await parent?.getFileHandle(baseName(path)).catch(() => undefined)
    if (!handle) throw new Error(`${folder}: has no file ${path}`)
    return handle.getFile()
  }
  return {
    name: folder,
    async list() {
      const root = await folderAt(folder, false)
      return root ? (await filesBelow(root)).sort() : []
    },
    size: async (path) => (await fileOf(path)).size,
    read: async (path, start, end, into) => readBlob(`${folder}/${path}`, await fileOf(path), start, end, into),
  }
}

/**
 * A folder of the browser's storage to write into; a file is the old one until the new one is whole.
 * Its `write` throws an Error that says so when the storage is full.
 */
export function storageSink(folder: string): Sink {
  return {
    name: folder,
    async write(path, parts) {
      try {
        const parent = (await parentOf(folder, path, true))!
        const handle = await parent.getFileHandle(baseName(path), { create: true })
        const stream = await handle.createWritable()
        try {
          for await (const part of parts) await stream.write(part as Uint8Array<ArrayBuffer>)
          await stream.close()
        } catch (error) {
          await stream.abort().catch(() => {})
          throw error
        }
      } catch (error) {
        throw new Error(`${folder}/${path}: not written: ${reasonOf(error)}`, { cause: error })
      }
    },
  }
}

/** Removes a folder or a file of the browser's storage, where it is there. */
export async function removeStored(path: string): Promise<void> {
  const parent = await parentOf('', path, false)
  await parent?.removeEntry(baseName(path), { recursive: true }).catch((error: DOMException) => {
    if (error.name !== 'NotFoundError') throw error
  })
}

/** Whether the browser lets this page store files. */
export async function hasStorage(): Promise<boolean> {
  return (await rootFolder().catch(() => undefined)) !== undefined
}

function reasonOf(error: unknown): string {
  const { name, message } = error as DOMException
  if (name === 'QuotaExceededError') return 'the storage that the browser gives this page is full; remove saved work'
  return message
}

async function rootFolder(): Promise<FileSystemDirectoryHandle> {
  const storage = globalThis.navigator?.storage
  if (!storage?.getDirectory) {
    throw new Error(
      'the browser has no storage for this page; open it over https or localhost, not in a private window',
    )
  }
  return storage.getDirectory()
}

async function folderAt(path: string, create: boolean): Promise<FileSystemDirectoryHandle | undefined> {
  let at = await rootFolder()
  for (const name of path.split('/').filter(Boolean)) {
    const next = await at.getDirectoryHandle(name, { create }).catch((error: DOMException) => {
      if (!create && error.name === 'NotFoundError') return undefined
      throw error
    })
    if (!next) return undefined
    at = next
  }
  return at
}

function parentOf(folder: string, path: string, create: boolean): Promise<FileSystemDirectoryHandle | undefined> {
  return folderAt([...folder.split('/'), ...path.split('/').slice(0, -1)].join('/'), create)
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

async function filesBelow(folder: FileSystemDirectoryHandle, prefix = ''): Promise<string[]> {
  const found: string[] = []
  for await (const [name, handle] of folder.entries()) {
    // A file that was begun and never written to its end is empty.
    if (handle.kind === 'directory') found.push(...(await filesBelow(handle, `${prefix}${name}/`)))
    else if ((await handle.getFile()).size > 0) found.push(prefix + name)
  }
  return found
}
