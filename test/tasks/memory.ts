/** Files in memory as a source, for readers. */

import type { Source } from '../../src/io/files.ts'

/** A source over texts and bytes by path. */
export function memory(files: Readonly<Record<string, string | Uint8Array>>, name = 'data'): Source {
  const bytes = new Map(
    Object.entries(files).map(([path, content]) => [
      path,
      typeof content === 'string' ? new TextEncoder().encode(content) : content,
    ]),
  )
  const get = (path: string): Uint8Array => {
    const found = bytes.get(path)
    if (found) return found
    throw new Error(`${name}: has no file ${path}`)
  }
  return {
    name,
    list: async () => [...bytes.keys()].sort(),
    size: async (path) => get(path).length,
    async read(path, start = 0, end = get(path).length) {
      if (!(start >= 0 && start <= end && end <= get(path).length)) throw new RangeError(`${name}/${path}: bad range`)
      return get(path).slice(start, end)
    },
  }
}
