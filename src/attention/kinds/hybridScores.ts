/** The scores of the window hybrid, of softmax and of features on one scale. */

import {
  add,
  exp,
  matmul,
  max,
  maximum,
  mul,
  neg,
  pad,
  reshape,
  sigmoid,
  slice,
  sub,
  transpose,
} from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Tensors } from '../../graph/trace.ts'
import { type FeatureOptions, type Features, featureProducts, featuresOf } from '../features.ts'
import { gatePath } from '../mapParams.ts'
import type { FeatureMap } from '../maps/map.ts'
import { delayed, factor, noShift, runningLargest } from '../scales.ts'
import { hidden } from '../softmax.ts'

/** What is left of a hybrid to see what each part does; both where not given. */
export type HybridPart = 'window' | 'linear'

/** A hybrid whose map is looked up. */
export interface HybridSettings {
  readonly map: FeatureMap
  readonly window: number
  readonly sinks: number
  readonly part?: HybridPart
}

/** Which keys a query sees by softmax, and which by features: 1 or 0, broadcastable to the scores. */
export interface Reach {
  readonly near: Tensor
  readonly far: Tensor
}

/**
 * Scores of both parts on one scale, and the factor of the linear part on it.
 * (… l d), (… s d), features of both; `farScale` (… l 1) is the largest shift of the keys that a query sees by features.
 */
export function blended(
  settings: HybridSettings,
  gate: Tensor,
  q: Tensor,
  k: Tensor,
  phiQ: Features,
  phiK: Features,
  { near, far }: Reach,
  farScale?: Tensor,
): { scores: Tensor; linearScale?: Tensor } {
  const { ofNear, ofFar } = partFactors(settings, gate, phiQ, farScale)
  const soft = mul(softScores(matmul(q, transpose(k)), q.shape.at(-1)!, near), ofNear)
  if (settings.part === 'window') return { scores: soft }
  const products = mul(featureProducts(settings.map, phiQ, phiK), far)
  const linear = phiK.shift && farScale ? mul(products, factor(transpose(phiK.shift), farScale)) : products
  return ofFar ? { scores: add(soft, mul(linear, ofFar)), linearScale: ofFar } : { scores: add(soft, linear) }
}

/** What queries take of sums that are relative to `from`, on the scale of {@link blended}'s scores. */
export function onScoresScale(far: Tensor, from?: Tensor, farScale?: Tensor, linearScale?: Tensor): Tensor {
  const ofSums = from && farScale && factor(from, farScale)
  const by = ofSums && linearScale ? mul(ofSums, linearScale) : (ofSums ?? linearScale)
  return by ? mul(far, by) : far
}

/** e^(s − c), c the largest of what softmax sees and 0 for all else: products q·k (… l s) of heads of width d. */
export function softScores(products: Tensor, d: number, near: Tensor): Tensor {
  const logits = add(mul(products, 1 / Math.sqrt(d)), mul(sub(1, near), hidden))
  return mul(exp(sub(logits, max(logits, [-1]))), near)
}

/** What brings softmax's scores, and what features give relative to `farScale`, to one scale. A part alone keeps its own. */
export function partFactors(
  { part }: HybridSettings,
  gate: Tensor,
  phiQ: Features,
  farScale?: Tensor,
): { ofNear: Tensor | number; ofFar?: Tensor } {
  if (part === 'linear') return { ofNear: 0 }
  if (part === 'window' || !phiQ.shift || !farScale) return { ofNear: gate }
  const size = add(phiQ.shift, farScale)
  const top = maximum(size, 0)
  return { ofNear: mul(gate, exp(neg(top))), ofFar: exp(sub(size, top)) }
}

/** Features of keys of which hidden ones (b s) ask for no scale: none may be seen yet. */
export function shownFeatures(map: FeatureMap, params: Tensors, k: Tensor, options: FeatureOptions): Features {
  const { shift, ...features } = featuresOf(map, params, k, options)
  const { keyMask } = options
  if (!shift || !keyMask) return { ...features, ...(shift && { shift }) }
  const [b, s] = keyMask.shape as [number, number]
  const shown = reshape(keyMask, [b, 1, s, 1])
  return { ...features, shift: add(mul(shift, shown), mul(sub(1, shown), noShift)) }
}

/** The largest shift of the keys before the window of each of the last l positions, (b h l 1). */
export function farScaleOf({ shift }: Features, window: number, l: number): Tensor | undefined {
  if (!shift) return undefined
  const s = shift.shape[2]!
  return slice(delayed(runningLargest(shift), window), 2, s - l, s)
}

/** γ per head, broadcastable against scores whose heads stand `axes` − 1 before the last two axes. */
export function gateOf(params: Tensors, axes: number): Tensor {
  const gate = params[gatePath]!
  return reshape(sigmoid(gate), [gate.shape[0]!, ...Array<number>(axes - 1).fill(1)])
}

/** Features of keys between columns that have none. */
export function besideNothing({ phi, u, shift }: Features, before: number, after: number): Features {
  const beside = (x: Tensor) => pad(x, 2, before, after)
  return { phi: beside(phi), u: beside(u), ...(shift && { shift: beside(shift) }) }
}
