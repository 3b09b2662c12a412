/** States between blocks in a file, for a way back whose states do not fit into memory. */

import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type FloatArray, floats, sizeOf } from '../base/array.ts'
import type { StateStore } from '../execute/states.ts'
import { reason, temporaryOf } from './files.ts'

/** States in a file. */
export interface SpilledStates extends StateStore {
  /** Seconds that the computation waited to have states back. */
  waited(): number
  /** Closes the file, which is then gone. */
  dispose(): Promise<void>
}

/** Memory for the states of one layer, used again and again. */
interface Slot {
  layer?: number | undefined
  read?: Promise<FloatArray> | undefined
  states?: FloatArray
}

/**
 * A store of states in a file of a folder, which is made with the first of them. It loses its name as soon as it is
 * open, so that its room is free again however the process ends; where a system keeps the name, `tidyFolder` removes
 * what a killed process left.
 */
export function spilledStates(
  folder: string,
  { clock = () => performance.now() / 1000 }: { readonly clock?: () => number } = {},
): SpilledStates {
  const path = join(folder, temporaryOf('states'))
  let opened: Promise<FileHandle> | undefined
  const shapes = new Map<number, readonly number[]>()
  const slots: Slot[] = [{}, {}]
  let waited = 0

  /** Begins to read a layer into a slot that holds neither it nor `other`, unless it is there or on its way. */
  const begin = (layer: number, other: number | undefined): Promise<FloatArray> => {
    const known = slots.find((slot) => slot.layer === layer)?.read
    if (known) return known
    const slot = slots.find((one) => one.layer === undefined || one.layer !== other)!
    const before = slot.read
    const fill = async () => {
      await before?.catch(() => {})
      const shape = shapes.get(layer)
      if (!shape || !opened) throw new Error(`states between blocks: layer ${layer} was not written`)
      if (`${slot.states?.shape}` !== `${shape}`) slot.states = floats(shape)
      const bytes = bytesOf(slot.states!)
      await readAll(await opened, bytes, layer * bytes.length, path)
      return slot.states!
    }
    const found = fill()
    Object.assign(slot, { layer, read: found })
    // Whoever asks for them is told; until then nobody listens.
    found.catch(() => Object.assign(slot, { layer: undefined }))
    return found
  }

  return {
    async write(layer, states) {
      // What was read of an earlier pass is no longer what is there.
      for (const slot of slots) if (slot.layer === layer) slot.layer = undefined
      shapes.set(layer, states.shape)
      opened ??= openUnnamed(folder, path)
      const bytes = bytesOf(states)
      await writeAll(await opened, bytes, layer * bytes.length).catch((cause) => {
        throw failed(path, cause, `, at layer ${layer} of ${bytes.length} bytes each`)
      })
    },
    async read(layer, next) {
      const began = clock()
      const states = await begin(layer, next)
      waited += clock() - began
      if (next !== undefined) void begin(next, layer)
      return states
    },
    waited: () => waited,
    async dispose() {
      await Promise.allSettled(slots.map(({ read }) => read))
      const file = await opened?.catch(() => undefined)
      opened = undefined
      await file?.close()
      await rm(path, { force: true }).catch(() => {})
    },
  }
}

async function openUnnamed(folder: string, path: string): Promise<FileHandle> {
  try {
    await mkdir(folder, { recursive: true })
    const file = await open(path, 'w+')
    await rm(path, { force: true }).catch(() => {})
    return file
  } catch (cause) {
    throw failed(path, cause)
  }
}

function failed(path: string, cause: unknown, where = ''): Error {
  const advice = 'make room there, or take fewer tokens at once'
  return new Error(`${path}: states between blocks not written: ${reason(cause)}${where}; ${advice}`, { cause })
}

function bytesOf({ shape, data }: FloatArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, sizeOf(shape) * data.BYTES_PER_ELEMENT)
}

/** The most that a system takes in one call. */
const mostBytes = 2 ** 30

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(bytes.length - done, mostBytes), at + done)
    done += bytesWritten
  }
}

async function readAll(file: FileHandle, bytes: Uint8Array, at: number, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, Math.min(bytes.length - done, mostBytes), at + done)
    if (bytesRead === 0) throw new Error(`${path}: became shorter while it was read`)
    done += bytesRead
  }
}
