/** What the window hybrid keeps: the last keys and values in order, the sinks, and the sums of all others before them. */

import { floats } from '../../base/array.ts'
import { add, concat, filled, matmul, max, maximum, mul, pad, reshape, slice, sub, transpose } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import { distanceMask } from '../band.ts'
import { featuresOf, masked } from '../features.ts'
import type { HeadSizes } from '../heads.ts'
import { type LinearState, normalised, rescaled, withOnes } from '../linear.ts'
import { mapParams } from '../mapParams.ts'
import { type Kept, type Memory, perSequence } from '../memory.ts'
import { hasPending, pendingNames } from '../pending.ts'
import { factor, runningLargest } from '../scales.ts'
import {
  besideNothing,
  blended,
  gateOf,
  type HybridSettings,
  onScoresScale,
  type Reach,
  shownFeatures,
} from './hybridScores.ts'
import { hybridPending, hybridStep, hybridStepPast, keptStep } from './hybridStep.ts'
import { emptySums } from './linear.ts'
import { keptBesideSinks, sinkRoom } from './sinks.ts'

/** Columns of keys are the sinks, then the kept window, then the new positions. */
export function hybridMemory(settings: HybridSettings, sizes: HeadSizes): Memory {
  const { map, window, sinks, part } = settings
  const ring = (batch: number) => floats([batch, sizes.heads, window, sizes.headDim])
  return {
    empty: (batch) => ({
      ...emptySums(map, sizes, batch),
      keys: ring(batch),
      values: ring(batch),
      ...sinkRoom(sinks, sizes, batch),
    }),
    reserve: (kept) => kept,
    past(kept, position, l) {
      const batch = kept.sums!.shape[0]!
      if (hasPending(kept)) return hybridStepPast(settings, kept, position)
      return {
        ...kept,
        ...columnsAt(settings, batch, position, l),
        ...(map.positions && { start: perSequence(batch, position) }),
      }
    },
    attend(past, params, { q, k, v }) {
      if (past.pendingKeys) return hybridStep(settings, past, params, { q, k, v })
      const { sums, shift, keys, values, filled: old, left, isSink, sinkKeys, sinkValues, start } = past
      const l = q.shape[2]!
      const { q: ofQ, k: ofK } = mapParams(params)
      const recentValues = concat([values!, v], 2)
      const recent = { k: concat([keys!, k], 2), v: withOnes(recentValues) }
      const b = old!.shape[0]!
      const seen = concat([old!, filled(q, [b, l], 1)], 1)
      const byFeatures = isSink ? mul(seen, sub(1, isSink)) : seen
      // The first l of the recent keys are those that some query has before its window, and that the next position has, too.
      const leaving = (x: Tensor) => slice(x, 2, 0, l)
      const shown = { keyMask: slice(byFeatures, 1, 0, l) }
      const phiQ = featuresOf(map, ofQ, q, start ? { start } : {})
      const leftAt = start && { start: sub(start, window) }
      const phiK = shownFeatures(map, ofK, leaving(recent.k), { ...shown, ...leftAt })
      const farScale = phiK.shift && runningLargest(phiK.shift, shift)
      const all = {
        k: sinkKeys ? concat([sinkKeys, recent.k], 2) : recent.k,
        v: sinkValues ? concat([withOnes(sinkValues), recent.v], 2) : recent.v,
      }
      const reach = reachOf(settings, q, { seen, byFeatures, left, isSink })
      const ofColumns = besideNothing(phiK, sinks, window)
      const { scores, linearScale } = blended(settings, gateOf(params, 3), q, all.k, phiQ, ofColumns, reach, farScale)
      const before: LinearState = { sums: sums!, ...(shift && { shift }) }
      const far = onScoresScale(matmul(phiQ.phi, before.sums), shift, farScale, linearScale)
      const near = matmul(scores, all.v)
      const nextShift = phiK.shift && maximum(max(phiK.shift, [2]), shift!)
      const leftValues = masked(leaving(recent.v), shown.keyMask)
      const added = phiK.shift && nextShift ? mul(leftValues, factor(phiK.shift, nextShift)) : leftValues
      const next = {
        sums: add(rescaled(before, nextShift), matmul(transpose(phiK.phi), added)),
        keys: slice(recent.k, 2, l, l + window),
        values: slice(recentValues, 2, l, l + window),
        ...(nextShift && { shift: nextShift }),
        ...(sinks > 0 && { newKeys: k, newValues: v }),
      }
      return { y: normalised(part === 'window' ? near : add(near, far)), next }
    },
    keep(kept, next, position) {
      if (hasPending(kept)) return keptStep(kept, next, position)
      return keptBesideSinks(kept, next, position)
    },
    overwrites: ['sinkKeys', 'sinkValues', ...pendingNames],
    pending: hybridPending(settings, sizes),
  }
}

/** What the columns are when `l` positions are read after `position`. */
function columnsAt({ window, sinks }: HybridSettings, batch: number, position: number, l: number): Kept {
  const rows = (width: number, is: (column: number) => boolean) => {
    const array = floats([batch, width])
    for (let i = 0; i < array.data.length; i++) array.data[i] = is(i % width) ? 1 : 0
    return array
  }
  const at = (column: number) => position - window + column
  return {
    /** Whether a place of the kept window has a key. */
    filled: rows(window, (column) => at(column) >= 0),
    ...(sinks > 0 && {
      /** Whether a sink has left the kept window, which shows it until then. */
      left: rows(sinks, (sink) => sink < position - window),
      /** Whether a key of the kept window or a new one is a sink. */
      isSink: rows(window + l, (column) => at(column) >= 0 && at(column) < sinks),
    }),
  }
}

interface Columns {
  /** Keys of the kept window and new ones (b w+l), and those of them that features see. */
  readonly seen: Tensor
  readonly byFeatures: Tensor
  readonly left: Tensor | undefined
  readonly isSink: Tensor | undefined
}

function reachOf({ window, sinks }: HybridSettings, q: Tensor, { seen, byFeatures, left, isSink }: Columns): Reach {
  const [l, s] = [q.shape[2]!, seen.shape[1]!]
  const column = (mask: Tensor) => reshape(mask, [mask.shape[0]!, 1, 1, mask.shape[1]!])
  const inWindow = distanceMask(q, l, s, (distance) => distance >= 0 && distance < window)
  const before = distanceMask(q, l, s, (distance) => distance >= window)
  const far = mul(before, column(byFeatures))
  if (!left || !isSink) return { near: mul(inWindow, column(seen)), far }
  const near = mul(add(inWindow, mul(before, column(isSink))), column(seen))
  const shown = mul(column(left), filled(q, [l, 1], 1))
  return { near: concat([shown, near], -1), far: pad(far, 3, sinks, 0) }
}
