/** A folder in memory, for tests of what reads and writes files. */

import type { Sink, Source } from '../src/io/files.ts'

/** Files by name. */
export type Files = Record<string, Uint8Array>

/** A folder in memory, both source and sink; reads are views that start at odd addresses. */
export function folder(files: Files = {}): Source & Sink & { files: Files } {
  const get = (path: string) => {
    if (files[path]) return files[path]
    throw new Error(`memory: has no file ${path}`)
  }
  return {
    files,
    name: 'memory',
    list: async () => Object.keys(files).sort(),
    size: async (path) => get(path).length,
    async read(path, start = 0, end = get(path).length) {
      if (start < 0 || start > end || end > get(path).length) throw new RangeError(`${path}: bad range`)
      const shifted = new Uint8Array(end - start + 1)
      shifted.set(get(path).subarray(start, end), 1)
      return shifted.subarray(1)
    },
    async write(path, parts) {
      const all: Uint8Array[] = []
      for await (const part of parts) all.push(part)
      files[path] = new Uint8Array(Buffer.concat(all))
    },
  }
}
