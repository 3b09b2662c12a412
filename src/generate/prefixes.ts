/** States by the tokens they have read, so that a text that begins like an earlier one is not read again. */

import { heldBytes } from './rows.ts'
import type { State } from './state.ts'

/** Keeps states up to a number of bytes; those unused for longest are dropped first. */
export interface PrefixCache {
  /**
   * The state that has read the longest kept run of tokens that `ids` begin with, all of `ids` at most. It stays in the
   * cache: fork it to go on from it.
   */
  find(ids: ArrayLike<number>): { readonly state: State; readonly length: number } | undefined
  /** Keeps a state that has read exactly `ids`; the caller gives it away. Of equal ids the first state stays. */
  add(ids: ArrayLike<number>, state: State): void
  /** How many tokens `ids` begin with like some kept text, whether or not there is a state for just these. */
  shared(ids: ArrayLike<number>): number
  /** The bytes of all kept states and ids. */
  bytes(): number
  /** How many states are kept. */
  size(): number
}

interface Entry {
  readonly ids: Int32Array
  readonly state: State
  readonly bytes: number
}

/** @param mostBytes of states and ids together; 0 keeps nothing. */
export function createPrefixCache(mostBytes: number): PrefixCache {
  // In the order of last use: a Map keeps the order in which keys were set.
  const entries = new Map<string, Entry>()
  /** How many entries there are of each length. */
  const lengths = new Map<number, number>()
  let bytes = 0
  const drop = (key: string) => {
    const { ids, bytes: freed } = entries.get(key)!
    entries.delete(key)
    bytes -= freed
    const left = lengths.get(ids.length)! - 1
    if (left === 0) lengths.delete(ids.length)
    else lengths.set(ids.length, left)
  }
  return {
    find(ids) {
      const wanted = [...lengths.keys()].filter((length) => length <= ids.length).sort((a, b) => b - a)
      const hashes = hashesAt(ids, new Set(wanted))
      for (const length of wanted) {
        const key = keyOf(length, hashes.get(length)!)
        const entry = entries.get(key)
        // Equal hashes are not equal tokens: another text's state must never be given out.
        if (!entry?.ids.every((id, i) => id === ids[i])) continue
        entries.delete(key)
        entries.set(key, entry)
        return { state: entry.state, length }
      }
      return undefined
    },
    add(ids, state) {
      const kept = Int32Array.from(ids)
      const size = kept.byteLength + heldBytes(state.layers)
      const key = keyOf(kept.length, hashesAt(kept, new Set([kept.length])).get(kept.length)!)
      if (size > mostBytes || entries.has(key)) return
      entries.set(key, { ids: kept, state, bytes: size })
      lengths.set(kept.length, (lengths.get(kept.length) ?? 0) + 1)
      bytes += size
      for (const oldest of entries.keys()) {
        if (bytes <= mostBytes) break
        drop(oldest)
      }
    },
    shared(ids) {
      let longest = 0
      for (const entry of entries.values()) {
        const most = Math.min(ids.length, entry.ids.length)
        let length = 0
        while (length < most && ids[length] === entry.ids[length]) length += 1
        longest = Math.max(longest, length)
      }
      return longest
    },
    bytes: () => bytes,
    size: () => entries.size,
  }
}

function keyOf(length: number, hash: number): string {
  return `${length} ${hash}`
}

/** FNV-1a over ids, after each of the wanted numbers of them. */
function hashesAt(ids: ArrayLike<number>, wanted: ReadonlySet<number>): Map<number, number> {
  const found = new Map<number, number>()
  let hash = 0x811c9dc5
  for (let i = 0; i <= ids.length; i++) {
    if (wanted.has(i)) found.set(i, hash >>> 0)
    if (i < ids.length) hash = Math.imul(hash ^ ids[i]!, 0x01000193)
  }
  return found
}
