/** What a worker has for its jobs: devices, folders of the site and models, each opened once. */

import type { Job } from '../../base/progress.ts'
import type { Source } from '../../io/files.ts'
import type { Device } from '../../runtime/device.ts'
import { type AssetFile, cachedFolder } from '../../web/cache.ts'
import { openDevice } from '../../web/device.ts'
import type { ProviderName } from '../../web/engine.ts'
import { fetched } from '../../web/http.ts'

/** What jobs are given. */
export interface Host {
  /** Seconds on a steady clock. */
  clock(): number
  /**
   * @param threads of WebAssembly; default: all that there are. The first device of a worker decides.
   * @throws Error when this browser does not have it.
   */
  device(name: ProviderName, threads?: number): Promise<Device>
  /** A folder that comes with the page, e.g. `models/tiny`; fetched once, with progress. */
  folder(name: string): Job<Source>
}

/** What the build lists: each folder's files. */
export type Assets = Readonly<Record<string, readonly AssetFile[]>>

/** @param base the address of the page's folder, ending in a slash. */
export function openHost(base: string): Host {
  const devices = new Map<string, Promise<Device>>()
  const folders = new Map<string, Source>()
  const clock = () => performance.now() / 1000
  let assets: Promise<Assets> | undefined
  return {
    clock,
    device: (name, threads) => {
      const options = { assets: new URL('ort/', base).href, ...(threads !== undefined && { threads }) }
      return known(devices, name, () => openDevice(name, options))
    },
    async *folder(name) {
      const found = folders.get(name)
      if (found) return found
      assets ??= readAssets(base)
      const files = (
        await assets.catch((error) => {
          assets = undefined
          throw error
        })
      )[name]
      if (!files) throw new Error(`${name}: does not come with this page; build it again with npm run build:web`)
      const source = yield* cachedFolder(name, new URL(name, base).href, files, clock)
      folders.set(name, source)
      return source
    },
  }
}

async function readAssets(base: string): Promise<Assets> {
  return (await (await fetched(new URL('assets.json', base).href, { cache: 'no-cache' })).json()) as Assets
}

/** What is under a key, made when first asked for; a failure is not kept. */
export function known<T>(found: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const old = found.get(key)
  if (old) return old
  const made = make()
  found.set(key, made)
  made.catch(() => found.delete(key))
  return made
}
