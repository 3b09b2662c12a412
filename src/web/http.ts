/** Folders on a web server as a {@link Source}: files are read by HTTP range. */

import type { Source } from '../io/files.ts'
import { checkRange } from './files.ts'

/**
 * A folder on a web server. Servers do not list folders, so its files are named here.
 * @param url of the folder.
 * @param files sizes in bytes by path.
 */
export function httpSource(url: string, files: Readonly<Record<string, number>>): Source {
  const base = url.endsWith('/') ? url : `${url}/`
  const whole = new Map<string, Uint8Array>()
  const sizeOf = (path: string): number => {
    if (!Object.hasOwn(files, path)) throw new Error(`${url}: has no file ${path}`)
    return files[path]!
  }
  return {
    name: url,
    list: async () => Object.keys(files).sort(),
    size: async (path) => sizeOf(path),
    async read(path, start = 0, end = sizeOf(path)) {
      checkRange(base + path, sizeOf(path), start, end)
      if (start === end) return new Uint8Array(0)
      const known = whole.get(path)
      if (known) return known.slice(start, end)
      const response = await fetched(base + encoded(path), { headers: { Range: `bytes=${start}-${end - 1}` } })
      const bytes = new Uint8Array(await response.arrayBuffer())
      if (response.status === 206) {
        if (bytes.length === end - start) return bytes
        throw new Error(
          `${base}${path}: got ${bytes.length} bytes of the ${end - start} asked for; load the page again`,
        )
      }
      // A server without ranges sends the whole file: once is enough.
      if (bytes.length !== sizeOf(path)) throw new Error(wrongSize(base + path, bytes.length, sizeOf(path)))
      whole.set(path, bytes)
      return bytes.slice(start, end)
    },
  }
}

/** A response with content. @throws Error naming the address, and why there is none. */
export async function fetched(address: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(address, init).catch((error: Error) => {
    throw new Error(`${address}: cannot be reached (${error.message}); check the network, then try again`)
  })
  if (!response.ok) throw new Error(`${address}: the server answers with status ${response.status}`)
  return response
}

/** A path as part of an address. */
export function encoded(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

/** What is said of a file of another size than was listed. */
export function wrongSize(where: string, got: number, want: number): string {
  return `${where}: got ${got} bytes, want ${want}; the page and its files are of different versions: load it again`
}
