/** φ of queries and keys, each row on a scale of its own, and what brings keys to a common one. */

import { matmul, max, maximum, mul, reshape, stopGradient, transpose } from '../graph/ops.ts'
import { dims } from '../graph/shapes.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { FeatureMap } from './maps/map.ts'

/** Which rows of a text some queries or keys are. */
export interface FeatureOptions {
  /** Position of the first row, (b 1 1 1), or of every row, (b 1 l 1); 0 where not given. */
  readonly start?: Tensor
  /** (b l), 0 for padding. */
  readonly keyMask?: Tensor
}

/** Features times e^(−shift); maps without a magnitude have no shift. */
export interface Features {
  readonly phi: Tensor
  /** What they are the features of: the projected queries or keys. */
  readonly u: Tensor
  /** (b h l 1). */
  readonly shift?: Tensor
}

/**
 * φ of queries or keys, each row by its own largest feature, which becomes 1. That scale cancels for queries; those of keys
 * are brought together where their products are added up. Padding is masked before the map (its shift must not count)
 * and after it.
 */
export function featuresOf(map: FeatureMap, params: Tensors, x: Tensor, options: FeatureOptions = {}): Features {
  const u = map.project(params, masked(x, options.keyMask), options.start)
  if (!map.magnitude) return { phi: masked(map.activate(u), options.keyMask), u }
  const shift = stopGradient(map.magnitude(u))
  return { phi: masked(map.activate(u, shift), options.keyMask), u, shift }
}

/** The features of all keys on one scale, (b h 1 1) or (b h s 1). */
export function rescaledFeatures(map: FeatureMap, features: Features, shift: Tensor, keyMask?: Tensor): Features {
  return { ...features, phi: masked(map.activate(features.u, shift), keyMask), shift }
}

/** φ(q)·φ(k) of all pairs, on the scale of their shifts; padding is not masked where the map has a kernel. */
export function featureProducts(map: FeatureMap, q: Features, k: Features): Tensor {
  return map.kernel ? map.kernel(q.u, k.u) : matmul(q.phi, transpose(k.phi))
}

/** Features of keys that every query sees, relative to the largest of all and of those before them, `from` (b h 1 1). */
export function onOneScale(
  map: FeatureMap,
  keys: Features,
  { keyMask, from }: { keyMask?: Tensor | undefined; from?: Tensor | undefined } = {},
): Features {
  if (!keys.shift) return keys
  const largest = max(keys.shift, [2])
  return rescaledFeatures(map, keys, from ? maximum(largest, from) : largest, keyMask)
}

/** Zeros for padding, in φ(k) itself so that it enters neither the sums nor the denominator: (b h s f) -> (b h s f). */
export function masked(x: Tensor, keyMask?: Tensor): Tensor {
  if (!keyMask) return x
  const { b, s } = dims('keyMask', { keyMask }, { keyMask: 'b s' })
  return mul(x, reshape(keyMask, [b!, 1, s!, 1]))
}
