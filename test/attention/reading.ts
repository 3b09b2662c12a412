/** Texts read through a memory in parts, one position at a time or several. */

import type { Kept, Memory } from '../../src/attention/memory.ts'
import type { NDArray } from '../../src/base/array.ts'
import { below, prefixed } from '../../src/nn/params.ts'
import { compile } from '../../src/runtime/compile.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { cut, device, join } from '../tensors.ts'

/** How a text is read. */
export interface Reading {
  /** Lengths of the parts. */
  readonly lengths: readonly number[]
  /** Whether single positions wait where the memory lets them. */
  readonly places: boolean
  /** Positions before which all that waits is taken in. */
  readonly settled?: ReadonlySet<number>
}

/** Reads q, k, v (b h l d) beside parameters, in float32: what attention gives, (b h l d). */
export function createReading(memory: Memory) {
  const step = compile(device, ({ q, k, v, ...given }) => {
    const { y, next } = memory.attend(below('past.', given), below('p.', given), { q: q!, k: k!, v: v! })
    return { y, ...prefixed('next.', next) }
  })
  const settle = compile(device, (given) => prefixed('next.', memory.pending!.settled(below('past.', given))))
  const settledOf = async (kept: Kept): Promise<Kept> => {
    const computed = below('next.', await settle(prefixed('past.', kept))) as Kept
    return { ...memory.pending!.moved(kept), ...computed }
  }
  return {
    async read({ q, k, v, ...params }: Arrays, { lengths, places, settled }: Reading): Promise<NDArray> {
      const { pending } = memory
      let kept = memory.empty(q!.shape[0]!)
      let position = 0
      const parts: NDArray[] = []
      for (const l of lengths) {
        const end = position + l
        if (pending?.isWaiting(kept) && (pending.isFull(kept) || l > 1 || settled?.has(position))) {
          kept = await settledOf(kept)
        }
        if (pending && places && l === 1) kept = pending.room(kept)
        const part = { q: cut(q!, 2, position, end), k: cut(k!, 2, position, end), v: cut(v!, 2, position, end) }
        kept = memory.reserve(kept, end)
        const past = prefixed('past.', memory.past(kept, position, l))
        const { y, ...next } = await step({ ...part, ...prefixed('p.', params), ...past })
        kept = memory.keep(kept, below('next.', next) as Kept, position)
        position = end
        parts.push(y!)
      }
      return join(parts, 2)
    },
    async dispose() {
      await step.dispose()
      await settle.dispose()
    },
  }
}
