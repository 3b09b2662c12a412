/**
 * The last positions of linear attention beside the sums of all before them, so that a step reads the sums and writes but a
 * row: what it costs to write sums anew is paid once for many positions, when these are taken in together.
 */

import { type FloatArray, floats } from '../base/array.ts'
import { add, concat, matmul, max, maximum, mul, split, transpose } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { FeatureMap } from './featureMaps.ts'
import { type Features, featuresOf } from './features.ts'
import type { HeadSizes, Heads } from './heads.ts'
import { type LinearState, type MapParams, normalised, rescaled, withOnes } from './linear.ts'
import type { Kept, Pending } from './memory.ts'
import { factor, noShift } from './scales.ts'

/** Positions that wait at most: with more a step reads more, with fewer the sums are written more often. */
export const places = 16

/** φ(k) (b h p f), [v, 1] (b h p e+1), and the shifts that these features are relative to (b h p 1); zeros are no position. */
interface Waiting {
  readonly pendingKeys: Tensor
  readonly pendingValues: Tensor
  readonly pendingShift?: Tensor
}

/** Names of what is added to a memory while positions wait: by {@link pendingOf}, and for the window of a hybrid. */
export const pendingNames = ['pendingKeys', 'pendingValues', 'pendingShift', 'recentKeys', 'recentValues'] as const

/** Whether a memory has places for positions that wait. */
export function hasPending(kept: Kept): boolean {
  return 'pendingKeys' in kept
}

/** How positions wait beside the sums of a map's features. */
export function pendingOf(map: FeatureMap, { heads, headDim }: HeadSizes): Pending {
  const room = (batch: number): Kept => ({
    pendingKeys: floats([batch, heads, places, map.features(headDim)]),
    pendingValues: floats([batch, heads, places, headDim + 1]),
    ...(map.magnitude && {
      pendingShift: floats([batch, heads, places, 1], new Float32Array(batch * heads * places).fill(noShift)),
    }),
  })
  return {
    room: (kept, old) => (hasPending(kept) ? kept : { ...kept, ...(old ? emptied(old) : room(kept.sums!.shape[0]!)) }),
    isWaiting: hasPending,
    isFull: (kept) => hasPending(kept) && rowsTaken(kept.pendingValues!).includes(places),
    settled,
    moved: () => ({}),
    // The shift is read twice.
    inPlace: ['sums'],
  }
}

/** One position: (b h 1 d) each -> y (b h 1 d), and what is to be written in the next place. */
export function pendingStep(
  map: FeatureMap,
  params: MapParams,
  past: LinearState & Waiting,
  { q, k, v }: Heads,
): { y: Tensor; next: Tensors } {
  const start = past.start ? { start: past.start } : {}
  const ofQ = featuresOf(map, params.q, q, start)
  const ofK = featuresOf(map, params.k, k, start)
  const v1 = withOnes(v)
  return { y: normalised(besidePending(past, ofQ, ofK, v1).out), next: waitingRow(ofK, v1) }
}

/** What is to be written in the next place: φ(k) (b h 1 f) and [v, 1] (b h 1 e+1). */
export function waitingRow({ phi, shift }: Features, v1: Tensor): Tensors {
  return { pendingKeys: phi, pendingValues: v1, ...(shift && { pendingShift: shift }) }
}

/**
 * What a query takes of the sums, of what waits and of one key more, whose value comes with a one: (b h 1 e+1), relative to
 * the largest shift of all, `scale` (b h 1 1).
 */
export function besidePending(
  past: LinearState & Waiting,
  ofQ: Features,
  ofK: Features,
  v1: Tensor,
): { out: Tensor; scale?: Tensor } {
  const parts: Parts = {
    far: matmul(ofQ.phi, past.sums),
    near: matmul(ofQ.phi, transpose(past.pendingKeys)),
    own: matmul(ofQ.phi, transpose(ofK.phi)),
  }
  const rescaling = ofK.shift && rescaledParts(parts, past, ofK.shift)
  const { far, near, own } = rescaling ? rescaling.parts : parts
  // Joining the new row to the others would copy all of them.
  const out = add(add(far, matmul(near, past.pendingValues)), mul(own, v1))
  return { out, ...(rescaling && { scale: rescaling.scale }) }
}

/** What a query takes of the sums (b h 1 e+1), and its products with the keys that wait (b h 1 p) and with its own (b h 1 1). */
interface Parts {
  readonly far: Tensor
  readonly near: Tensor
  readonly own: Tensor
}

/** Parts relative to the largest of all keys. */
function rescaledParts(
  { far, near, own }: Parts,
  { shift, pendingShift }: LinearState & Waiting,
  newest: Tensor,
): { parts: Parts; scale: Tensor } {
  const shifts = concat([shift!, newest, pendingShift!], 2)
  const scale = max(shifts, [2])
  const factors = transpose(factor(shifts, scale))
  const [ofFar, ofOwn, ofNear] = split(factors, [1, 1, places], -1) as [Tensor, Tensor, Tensor]
  return { parts: { far: mul(far, ofFar), near: mul(near, ofNear), own: mul(own, ofOwn) }, scale }
}

/** The sums with all that waited. */
function settled({ sums, shift, pendingKeys, pendingValues, pendingShift }: Tensors): Tensors {
  const largest = pendingShift && maximum(max(pendingShift, [2]), shift!)
  const values = largest ? mul(pendingValues!, factor(pendingShift, largest)) : pendingValues!
  const before = rescaled({ sums: sums!, ...(shift && { shift }) }, largest)
  return { sums: add(before, matmul(transpose(pendingKeys!), values)), ...(largest && { shift: largest }) }
}

/** The places of a memory, free again; keys without a value are not seen. */
function emptied({ pendingKeys, pendingValues, pendingShift }: Kept): Kept {
  pendingValues!.data.fill(0)
  pendingShift?.data.fill(noShift)
  return { pendingKeys: pendingKeys!, pendingValues: pendingValues!, ...(pendingShift && { pendingShift }) }
}

/** How many places of each sequence are taken: the ones beside the values say it. */
export function rowsTaken({ shape, data }: FloatArray): number[] {
  const [batch, heads, , width] = shape as [number, number, number, number]
  return Array.from({ length: batch }, (_, row) => {
    const start = row * heads * places * width
    let count = 0
    while (count < places && data[start + (count + 1) * width - 1] === 1) count += 1
    return count
  })
}

/** Writes one position of each sequence in its next free place. */
export function putPending(kept: Kept, next: Kept): void {
  const taken = rowsTaken(kept.pendingValues!)
  for (const [name, { data }] of Object.entries(next)) {
    const { data: into, shape } = kept[name]!
    const [, heads, , width] = shape as [number, number, number, number]
    for (let row = 0; row < taken.length * heads; row++) {
      const at = (row * places + taken[Math.floor(row / heads)]!) * width
      for (let i = 0; i < width; i++) into[at + i] = data[row * width + i]!
    }
  }
}
