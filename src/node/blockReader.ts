/** The thread that reads the blocks of a model, so that the next is read and decoded while this one is computed. */

import { parentPort, workerData } from 'node:worker_threads'
import type { NDArray } from '../base/array.ts'
import { finish } from '../base/progress.ts'
import { openModelFiles, pathsOf } from '../models/files.ts'
import { openSource } from './source.ts'

/** What the thread is asked for. */
export interface AskedBlock {
  readonly layer: number
  /** Memory for its parameters by path in the block; an empty record for new memory. */
  readonly room: Readonly<Record<string, ArrayBuffer>>
}

/** What it is begun with. */
export interface ReaderOptions {
  /** What `openSource` knows the model by. */
  readonly name: string
  /** Of the paths of each layer. */
  readonly prefixes: readonly string[]
  /** Give float16 as it is stored. */
  readonly float16: boolean
}

/** What it answers. */
export type ReadBlock =
  | { readonly layer: number; readonly arrays: Readonly<Record<string, NDArray>>; readonly bytes: number }
  | { readonly layer: number; readonly error: string }

const port = parentPort!
const { name, prefixes, float16 } = workerData as ReaderOptions
const files = finish(openSource(name)).then(openModelFiles)

port.on('message', async ({ layer, room }: AskedBlock) => {
  const arrays: Record<string, NDArray> = {}
  try {
    const { config, paths, read, stored } = await files
    const prefix = prefixes[layer]!
    for (const path of pathsOf({ config, paths }, layer)) {
      const inner = path.slice(prefix.length)
      const buffer = room[inner]
      arrays[inner] = await (float16 ? stored(path, buffer) : read(path, buffer && new Float32Array(buffer)))
    }
    const buffers = Object.values(arrays).map(({ data }) => data.buffer as ArrayBuffer)
    const bytes = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0)
    port.postMessage({ layer, arrays, bytes } satisfies ReadBlock, buffers)
  } catch (error) {
    port.postMessage({ layer, error: (error as Error).message } satisfies ReadBlock)
  }
})
