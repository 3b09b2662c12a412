/** What a pass keeps of each block for its way back: in memory all of its inputs, in a store the residual stream alone. */

import type { FloatArray } from '../base/array.ts'
import type { Arrays } from '../runtime/device.ts'

/** Where a pass keeps the states between blocks that are not to stay in memory. */
export interface StateStore {
  /** Stores the residual stream before a layer; the array may be written over when this is over. */
  write(layer: number, states: FloatArray): Promise<void>
  /**
   * What was written last for a layer; good until another layer but `next` is asked for.
   * @param next the layer that is asked for after this one, which may be read meanwhile
   */
  read(layer: number, next?: number): Promise<FloatArray>
}

/** States that are in memory at a time while others are in a store: the first, three on the way forward, two on the way back. */
export const statesBesideStore = 6

/** The inputs of blocks besides parameters, from the way forward to the way back. */
export interface KeptInputs {
  /** A name for the results of a layer; those of layers with the same name are written over. */
  slot(layer: number): number
  /** Keeps the inputs of a layer that has run. */
  put(layer: number, x: FloatArray, others: Arrays): Promise<void>
  /** @param again computes the others anew, which are then those of the way forward */
  get(layer: number, again: () => Arrays): Promise<Arrays>
}

/** For one pass. */
export function keptInputs(store: StateStore | undefined): KeptInputs {
  return store ? inStore(store) : inMemory()
}

function inMemory(): KeptInputs {
  const inputs: Arrays[] = []
  return {
    slot: (layer) => layer,
    async put(layer, x, others) {
      inputs[layer] = { x, ...others }
    },
    get: async (layer) => inputs[layer]!,
  }
}

function inStore(store: StateStore): KeptInputs {
  let written: Promise<void> = Promise.resolve()
  return {
    // While a layer computes its result from another, the states before that one are still being written.
    slot: (layer) => layer % 3,
    async put(layer, x) {
      await written
      written = store.write(layer, x)
      // Whoever waits for it is told; until then nobody listens.
      written.catch(() => {})
    },
    async get(layer, again) {
      await written
      const x = await store.read(layer, layer > 0 ? layer - 1 : undefined)
      return { x, ...again() }
    },
  }
}
