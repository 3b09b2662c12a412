/** Blocks of a model that are read from its files as they are needed, within a bounded memory. */

import type { BlockSource } from '../execute/blocks.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import type { Arrays } from '../runtime/device.ts'
import type { AskedBlock, ReadBlock, ReaderOptions } from './blockReader.ts'
import { startThread } from './thread.ts'

/** What reading did so far. */
export interface Reading {
  /** Blocks that were read. */
  readonly blocks: number
  /** Their bytes in memory. */
  readonly bytes: number
  /** Seconds that the computation waited for them. */
  readonly waited: number
}

/** Blocks from files. */
export interface StreamedBlocks extends BlockSource {
  reading(): Reading
  /** Ends the reading thread. */
  dispose(): Promise<void>
}

/** Memory for one block, used again and again. */
interface Slot {
  layer?: number | undefined
  read?: Promise<Arrays> | undefined
  room: Record<string, ArrayBuffer>
}

/**
 * The blocks of a model that `openSource` knows by a name. The first `resident` of them stay in memory once they were
 * read; of the others two are in memory at a time: the one that was asked for and the next. Weights that are stored as
 * float16 stay so, unless told otherwise: they take half the memory, and the engine converts them faster than a thread here.
 */
export function streamedBlocks(
  name: string,
  config: ModelConfig,
  {
    resident = 0,
    float16 = true,
    clock = () => performance.now() / 1000,
  }: { readonly resident?: number; readonly float16?: boolean; readonly clock?: () => number } = {},
): StreamedBlocks {
  const { blockPrefix } = familyOf(config)
  const prefixes = Array.from({ length: config.layers }, (_, layer) => blockPrefix(layer))
  const thread = startThread(new URL('./blockReader', import.meta.url), {
    name,
    prefixes,
    float16,
  } satisfies ReaderOptions)
  thread.unref()
  const waiting = new Map<number, { resolve: (params: Arrays) => void; reject: (error: Error) => void }>()
  const total = { blocks: 0, bytes: 0, waited: 0 }
  const failAll = (error: Error) => {
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }
  thread.on('error', failAll)
  thread.on('exit', () => failAll(new Error(`${name}: the thread that reads its weights has ended`)))
  thread.on('message', (message: ReadBlock) => {
    const asked = waiting.get(message.layer)
    waiting.delete(message.layer)
    if ('error' in message) return asked?.reject(new Error(message.error))
    total.blocks += 1
    total.bytes += message.bytes
    asked?.resolve(message.arrays)
  })

  const kept = new Map<number, Promise<Arrays>>()
  const slots: Slot[] = [{ room: {} }, { room: {} }]
  const ask = (layer: number, room: Record<string, ArrayBuffer>) => {
    const found = new Promise<Arrays>((resolve, reject) => waiting.set(layer, { resolve, reject }))
    // Whoever asks for the block is told; until then nobody listens.
    found.catch(() => {})
    thread.postMessage({ layer, room } satisfies AskedBlock, Object.values(room))
    return found
  }
  /** Begins to read a block, unless it is there or on its way. */
  const begin = (layer: number, spare: Slot | undefined): Promise<Arrays> => {
    const known = kept.get(layer) ?? slots.find((slot) => slot.layer === layer)?.read
    if (known) return known
    if (layer < resident) {
      const found = ask(layer, {})
      kept.set(layer, found)
      found.catch(() => kept.delete(layer))
      return found
    }
    const slot = spare ?? slots[0]!
    const found = ask(layer, slot.room).then((params) => {
      slot.room = Object.fromEntries(
        Object.entries(params).map(([path, { data }]) => [path, data.buffer as ArrayBuffer]),
      )
      return params
    })
    Object.assign(slot, { layer, read: found, room: {} })
    found.catch(() => Object.assign(slot, { layer: undefined, read: undefined }))
    return found
  }

  return {
    async block(layer, next) {
      const other = slots.find((slot) => slot.layer !== layer && slot.layer !== next)
      const reading = begin(layer, other)
      const began = clock()
      const params = await reading
      total.waited += clock() - began
      if (next !== undefined && next !== layer) {
        // Not before the block that may still be on its way to the same slot has come.
        void begin(
          next,
          slots.find((slot) => slot.layer !== layer && slot.layer !== next),
        )
      }
      return params
    },
    reading: () => ({ ...total }),
    async dispose() {
      await Promise.allSettled(slots.map(({ read }) => read))
      await thread.terminate()
    },
  }
}
