/**
 * Single positions of the window hybrid: new keys wait in places after the window, and those that it has passed wait beside
 * the sums, so that a step writes rows and neither the window nor the sums.
 */

import { floats } from '../../base/array.ts'
import { add, concat, matmul, mul, reshape, slice, sub, sum, transpose } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Tensors } from '../../graph/trace.ts'
import { featuresOf } from '../features.ts'
import type { HeadSizes, Heads } from '../heads.ts'
import { normalised, withOnes } from '../linear.ts'
import { mapParams } from '../mapParams.ts'
import { type Kept, type Pending, perSequence } from '../memory.ts'
import { besidePending, hasPending, pendingOf, places, putPending, rowsTaken, waitingRow } from '../pending.ts'
import { gateOf, type HybridSettings, partFactors, shownFeatures, softScores } from './hybridScores.ts'
import { keptSinks } from './sinks.ts'

/** The places of the sums' kind, and as many for keys and values after the window's, (b h p d). */
export function hybridPending({ map }: HybridSettings, sizes: HeadSizes): Pending {
  const ofSums = pendingOf(map, sizes)
  const recent = (batch: number) => floats([batch, sizes.heads, places, sizes.headDim])
  return {
    ...ofSums,
    room(kept, old) {
      if (hasPending(kept)) return kept
      const batch = kept.sums!.shape[0]!
      // What an old place has is not seen before it is taken again.
      const { recentKeys = recent(batch), recentValues = recent(batch) } = old ?? {}
      return { ...ofSums.room(kept, old), recentKeys, recentValues }
    },
    moved(kept) {
      const { keys, values, recentKeys, recentValues, sinkKeys, sinkValues } = kept
      const taken = rowsTaken(kept.pendingValues!)
      return {
        keys: movedOn(keys!, recentKeys!, taken),
        values: movedOn(values!, recentValues!, taken),
        ...(sinkKeys && { sinkKeys, sinkValues: sinkValues! }),
      }
    },
  }
}

/** The last positions of a window (b h w d) and of the places after it (b h p d), so many of which each sequence has taken. */
function movedOn(window: Kept[string], recent: Kept[string], taken: readonly number[]): Kept[string] {
  const [, heads, w, d] = window.shape as [number, number, number, number]
  const moved = floats(window.shape)
  for (let row = 0; row < taken.length * heads; row++) {
    const count = taken[Math.floor(row / heads)]!
    const into = moved.data.subarray(row * w * d, (row + 1) * w * d)
    const stay = Math.max(0, w - count)
    into.set(window.data.subarray((row * w + w - stay) * d, (row + 1) * w * d))
    into.set(recent.data.subarray((row * places + count - (w - stay)) * d, (row * places + count) * d), stay * d)
  }
  return moved
}

/** What the graph is given to read the position after `position` others, of sequences that may have taken unequally many places. */
export function hybridStepPast({ map, window, sinks }: HybridSettings, kept: Kept, position: number): Kept {
  const batch = kept.sums!.shape[0]!
  const taken = rowsTaken(kept.pendingValues!)
  const leaving = position - window
  const columns = sinks + window + places + 1
  const near = floats([batch, columns])
  for (const [row, count] of taken.entries()) {
    // The place of the key that leaves the window, after which those of the window stand.
    const first = sinks + count
    for (let sink = 0; sink < Math.min(sinks, leaving + 1); sink++) near.data[row * columns + sink] = 1
    for (let age = 1; age < window && age <= position; age++) near.data[row * columns + first + window - age] = 1
    near.data[(row + 1) * columns - 1] = 1
  }
  return {
    ...kept,
    near,
    leaves: floats([batch, 1], new Float32Array(batch).fill(leaving >= sinks ? 1 : 0)),
    leavingKey: atPlace(kept.keys!, kept.recentKeys!, taken),
    leavingValue: atPlace(kept.values!, kept.recentValues!, taken),
    ...(map.positions && { start: perSequence(batch, position) }),
  }
}

/** One position of each sequence, counted from the first of the window on: (b h 1 d). */
function atPlace(window: Kept[string], recent: Kept[string], at: readonly number[]): Kept[string] {
  const [batch, heads, w, d] = window.shape as [number, number, number, number]
  const found = floats([batch, heads, 1, d])
  for (let row = 0; row < batch * heads; row++) {
    const place = at[Math.floor(row / heads)]!
    const [{ data }, start] = place < w ? [window, row * w + place] : [recent, row * places + place - w]
    found.data.set(data.subarray(start * d, (start + 1) * d), row * d)
  }
  return found
}

/** One position: (b h 1 d) each -> y (b h 1 d), and what is to be written in the next place. */
export function hybridStep(
  settings: HybridSettings,
  past: Tensors,
  params: Tensors,
  { q, k, v }: Heads,
): { y: Tensor; next: Tensors } {
  const { map, window, part } = settings
  const { start } = past
  const ofMaps = mapParams(params)
  const phiQ = featuresOf(map, ofMaps.q, q, start ? { start } : {})
  const passed = { keyMask: past.leaves!, ...(start && { start: sub(start, window) }) }
  const phiK = shownFeatures(map, ofMaps.k, past.leavingKey!, passed)
  const v1 = withOnes(past.leavingValue!)
  const { sums, pendingKeys, pendingValues } = past
  const waiting = { ...past, sums: sums!, pendingKeys: pendingKeys!, pendingValues: pendingValues! }
  const far = besidePending(waiting, phiQ, phiK, v1)
  const { ofNear, ofFar } = partFactors(settings, gateOf(params, 3), phiQ, far.scale)
  const near = nearSums(settings, mul(nearScores(settings, past, q, k), ofNear), past, v)
  const linear = ofFar ? mul(far.out, ofFar) : far.out
  const y = normalised(part === 'window' ? near : add(near, linear))
  return { y, next: { ...waitingRow(phiK, v1), recentKeys: k, recentValues: v } }
}

/** e^(s − c) of what softmax sees, the largest 1 and 0 for all else: (b h 1 sinks+w+p+1). */
function nearScores({ sinks }: HybridSettings, past: Tensors, q: Tensor, k: Tensor): Tensor {
  const { near, keys, recentKeys, sinkKeys } = past
  const seen = reshape(near!, [near!.shape[0]!, 1, 1, near!.shape[1]!])
  const ofKeys = (x: Tensor) => matmul(q, transpose(x))
  const columns = [...(sinks ? [ofKeys(sinkKeys!)] : []), ofKeys(keys!), ofKeys(concat([recentKeys!, k], 2))]
  return softScores(concat(columns, -1), q.shape[3]!, seen)
}

/** Σ e^(s − c) [v, 1] of what softmax sees: (b h 1 d+1). */
function nearSums({ sinks, window }: HybridSettings, scores: Tensor, past: Tensors, v: Tensor): Tensor {
  const { values, recentValues, sinkValues } = past
  const cut = (from: number, to: number) => slice(scores, -1, from, to)
  const end = sinks + window
  const inWindow = matmul(cut(sinks, end), values!)
  const all = add(inWindow, matmul(cut(end, end + places + 1), concat([recentValues!, v], 2)))
  const seen = sinks ? add(all, matmul(cut(0, sinks), sinkValues!)) : all
  return concat([seen, sum(scores, [-1])], -1)
}

/** The memory after one position. */
export function keptStep(kept: Kept, next: Kept, position: number): Kept {
  putPending(kept, next)
  return kept.sinkKeys ? { ...kept, ...keptSinks(kept, position, next.recentKeys!, next.recentValues!) } : kept
}
