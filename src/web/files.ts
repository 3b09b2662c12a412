/** Files that a person dropped or chose, as a {@link Source}. */

import type { Source } from '../io/files.ts'

/**
 * Files by path, read by range when they are asked for.
 * @param name for messages, e.g. the folder's name.
 */
export function filesSource(name: string, files: Readonly<Record<string, Blob>>): Source {
  const blobOf = (path: string): Blob => {
    const found = Object.hasOwn(files, path) ? files[path] : undefined
    if (!found) throw new Error(`${name}: has no file ${path}`)
    return found
  }
  return {
    name,
    list: async () => Object.keys(files).sort(),
    size: async (path) => blobOf(path).size,
    read: async (path, start, end, into) => readBlob(`${name}/${path}`, blobOf(path), start, end, into),
  }
}

/** Bytes [start, end) of a blob. @throws RangeError past its end; Error when the file behind it is gone or has changed. */
export async function readBlob(
  where: string,
  blob: Blob,
  start = 0,
  end = blob.size,
  into?: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  checkRange(where, blob.size, start, end)
  const buffer = await blob
    .slice(start, end)
    .arrayBuffer()
    .catch((error: Error) => {
      throw new Error(`${where}: cannot be read any more (${error.message}); drop or choose it again`, { cause: error })
    })
  const bytes = new Uint8Array(buffer)
  if (!into || into.length < bytes.length) return bytes
  into.set(bytes)
  return into.subarray(0, bytes.length)
}

/** @throws RangeError unless [start, end) lies within a file's size. */
export function checkRange(where: string, size: number, start: number, end: number): void {
  if (start >= 0 && start <= end && end <= size) return
  throw new RangeError(`${where}: got bytes [${start}, ${end}), want a range within [0, ${size})`)
}
