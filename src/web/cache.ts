/** Folders on a web server that are fetched whole, once: the browser keeps them. */

import type { Job } from '../base/progress.ts'
import type { Source } from '../io/files.ts'
import { filesSource } from './files.ts'
import { encoded, fetched, wrongSize } from './http.ts'

/** A file on a server. */
export interface AssetFile {
  readonly path: string
  /** In bytes. */
  readonly size: number
  /** Changes when its content does. */
  readonly hash: string
}

const cacheName = 'hedgehog-assets'

/**
 * Fetches the files of a folder, or takes them from the browser's cache. Progress is in megabytes. Where the browser keeps
 * nothing (a private window, a page without https), they are fetched each time.
 * @param url of the folder.
 * @throws Error naming the file that could not be had.
 */
export async function* cachedFolder(
  name: string,
  url: string,
  files: readonly AssetFile[],
  clock: () => number,
): Job<Source> {
  const base = url.endsWith('/') ? url : `${url}/`
  const cache = await openCache()
  const began = clock()
  const total = files.reduce((sum, { size }) => sum + size, 0)
  const blobs: Record<string, Blob> = {}
  let done = 0
  for (const file of files) {
    const address = `${base}${encoded(file.path)}?${file.hash}`
    let blob = await (await cache?.match(address))?.blob()
    if (blob?.size !== file.size) {
      const parts: Uint8Array<ArrayBuffer>[] = []
      for await (const part of bodyOf(await fetched(address))) {
        parts.push(part)
        done += part.length
        yield progress(done)
      }
      blob = new Blob(parts)
      if (blob.size !== file.size) throw new Error(wrongSize(base + file.path, blob.size, file.size))
      await keep(cache, base + encoded(file.path), address, blob)
    } else {
      done += file.size
    }
    blobs[file.path] = blob
  }
  return filesSource(name, blobs)

  function progress(bytes: number) {
    const [step, steps] = [bytes, total].map((count) => Math.round(count / 1e5) / 10) as [number, number]
    return { phase: `fetch ${name}`, step, steps, seconds: clock() - began }
  }
}

/** Undefined where there is none: cookies are blocked, or the page is not secure. */
async function openCache(): Promise<Cache | undefined> {
  return globalThis.caches?.open(cacheName).catch(() => undefined)
}

/** Puts a file in place of its older versions; a full cache only means that it is fetched again. */
async function keep(cache: Cache | undefined, url: string, address: string, blob: Blob): Promise<void> {
  if (!cache) return
  try {
    for (const request of await cache.keys(url, { ignoreSearch: true })) await cache.delete(request)
    await cache.put(address, new Response(blob))
  } catch {
    await cache.delete(address).catch(() => false)
  }
}

async function* bodyOf(response: Response): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = response.body!.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}
