/** Positions that wait beside the memories of a model, and their way into them. */

import type { Kept, Memory } from '../attention/memory.ts'
import type { NDArray } from '../base/array.ts'
import type { FunctionCache } from '../execute/blocks.ts'
import type { Tensors } from '../graph/trace.ts'
import { below, prefixed } from '../nn/params.ts'
import { forked, withRoom } from './rows.ts'

/** Where positions that are read one at a time wait until they are taken in together. */
export interface Settling {
  /** Memories with all that waited in them, and without places for more. */
  settled(layers: readonly Kept[]): Promise<Kept[]>
  /** Memories with a place for another position. */
  withPlace(layers: readonly Kept[]): Promise<Kept[]>
  /** Memories that are gone on from independently. What is only read is not copied. */
  fork(layers: readonly Kept[]): Kept[]
}

/** @param keyOf equal for layers whose memories are of one kind */
export function createSettling(
  functions: FunctionCache,
  memories: readonly Memory[],
  keyOf: (layer: number) => string,
): Settling {
  // Arrays that belong to several states, which are not written over any more.
  const shared = new WeakSet<NDArray>()
  const settle = async (layer: number, kept: Kept): Promise<Kept> => {
    const { settled, moved, inPlace } = memories[layer]!.pending!
    const build = () => (inputs: Tensors) => prefixed('next.', settled(below('past.', inputs)))
    const into = Object.fromEntries(inPlace.flatMap((name) => (shared.has(kept[name]!) ? [] : [[name, kept[name]!]])))
    const run = functions.get(`settled ${keyOf(layer)}`, build)
    const computed = below('next.', await run(prefixed('past.', kept), prefixed('next.', into))) as Kept
    return { ...moved(kept), ...computed }
  }
  const each = async (
    layers: readonly Kept[],
    change: (kept: Kept, memory: Memory, layer: number) => Kept | Promise<Kept>,
  ) => {
    const changed: Kept[] = []
    for (const [layer, kept] of layers.entries()) changed.push(await change(kept, memories[layer]!, layer))
    return changed
  }
  return {
    settled: (layers) =>
      each(layers, (kept, { pending }, layer) => (pending?.isWaiting(kept) ? settle(layer, kept) : kept)),
    withPlace: (layers) =>
      each(layers, async (kept, memory, layer) => {
        const { pending } = memory
        return pending?.isFull(kept) ? pending.room(await settle(layer, kept), kept) : withRoom(memory, kept)
      }),
    fork(layers) {
      for (const kept of layers) for (const array of Object.values(kept)) shared.add(array)
      return layers.map((kept, layer) => forked(kept, memories[layer]!))
    },
  }
}
