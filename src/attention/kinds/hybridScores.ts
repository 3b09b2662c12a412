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
import { type Features, featureProducts } from '../features.ts'
import { gatePath } from '../mapParams.ts'
import type { FeatureMap } from '../maps/map.ts'
import { delayed, factor, runningLargest } from '../scales.ts'
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
  { map, part }: HybridSettings,
  gate: Tensor,
  q: Tensor,
  k: Tensor,
  phiQ: Features,
  phiK: Features,
  { near, far }: Reach,
  farScale?: Tensor,
): { scores: Tensor; linearScale?: Tensor } {
  const logits = add(mul(matmul(q, transpose(k)), 1 / Math.sqrt(q.shape.at(-1)!)), mul(sub(1, near), hidden))
  const soft = mul(mul(exp(sub(logits, max(logits, [-1]))), near), part === 'linear' ? 0 : gate)
  const linear = mul(featureProducts(map, phiQ, phiK), part === 'window' ? mul(far, 0) : far)
  if (!phiQ.shift || !phiK.shift || !farScale) return { scores: add(soft, linear) }
  const size = add(phiQ.shift, farScale)
  const top = maximum(size, 0)
  const linearScale = exp(sub(size, top))
  const scaled = mul(mul(linear, factor(transpose(phiK.shift), farScale)), linearScale)
  return { scores: add(mul(soft, exp(neg(top))), scaled), linearScale }
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
