/** A folder in memory, for browsers that store nothing. */

import type { Sink, Source } from '../io/files.ts'
import { readBlob } from './files.ts'

/** A folder that is read from and written to, and lasts as long as its holder. */
export type Folder = Source & Sink

/** An empty folder. */
export function memoryFolder(name: string): Folder {
  const files = new Map<string, Blob>()
  const blobOf = (path: string): Blob => {
    const found = files.get(path)
    if (!found) throw new Error(`${name}: has no file ${path}`)
    return found
  }
  return {
    name,
    list: async () => [...files.keys()].sort(),
    size: async (path) => blobOf(path).size,
    read: async (path, start, end, into) => readBlob(`${name}/${path}`, blobOf(path), start, end, into),
    async write(path, parts) {
      const copies: Uint8Array<ArrayBuffer>[] = []
      for await (const part of parts) copies.push(part.slice())
      files.set(path, new Blob(copies))
    },
  }
}
