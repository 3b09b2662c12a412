/** What a feature map is, and what a name such as `hedgehog-exp+half+tied` or `performer:128` can choose of it. */

import type { Tensor } from '../../graph/tensor.ts'
import type { Tensors } from '../../graph/trace.ts'
import type { ParamSpecs } from '../../nn/params.ts'

/** Sizes that a map's parameters depend on. */
export interface MapSizes {
  readonly heads: number
  readonly headDim: number
}

/**
 * A feature map (b h l d) -> (b h l f). It works in two steps so that exponentials can be kept in range exactly:
 * `project` gives u, `activate` gives φ · e^(−shift), and `magnitude` the shift that brings the largest feature to 1.
 */
export interface FeatureMap {
  /** The number of features f for a head dimension d. */
  features(headDim: number): number
  /** Trainable parameters of the map, one set for queries and one for keys; none for a fixed map. */
  params(sizes: MapSizes): ParamSpecs
  /**
   * @param start position of the first row, broadcastable to (b 1 1 1), or of every row (b 1 l 1); 0 where not given. Only
   * maps with {@link FeatureMap.positions} read it.
   * @throws RangeError when there are more rows than positions.
   */
  project(params: Tensors, x: Tensor, start?: Tensor): Tensor
  /** @param shift broadcastable to (b h l 1); only maps with a `magnitude` are given one. */
  activate(u: Tensor, shift?: Tensor): Tensor
  /** log of the largest feature, (b h l r) -> (b h l 1). */
  readonly magnitude?: (u: Tensor) => Tensor
  /**
   * φ(q)·φ(k) of all pairs from u, (… l r), (… s r) -> (… l s), for maps whose kernel is cheaper than their many features.
   */
  readonly kernel?: (q: Tensor, k: Tensor) => Tensor
  /** The kernel depends on positions, which must stay below this. */
  readonly positions?: number
}

/** Changes that some maps allow: half the features, a bias in the projection, one set of parameters for q and k. */
export type Variant = 'half' | 'bias' | 'tied'

/** What a name chooses. */
export interface MapChoice {
  /** The number after the colon. */
  readonly argument?: number
  readonly half: boolean
  readonly bias: boolean
}

/** A line of the table of maps. */
export interface MapEntry {
  /** One line for help and docs. */
  readonly summary: string
  readonly source: string
  /** What the number after a colon means; whole numbers from 1. Absent when a map takes none. */
  readonly argument?: string
  /** The variants that the map allows. */
  readonly variants: readonly Variant[]
  /** Whether a conversion distils the map before the model is finetuned. */
  readonly distilled: boolean
  build(choice: MapChoice): FeatureMap
}

/** What a map without parameters leaves to others. */
export const fixed = {
  params: (): ParamSpecs => ({}),
  project: (_params: Tensors, x: Tensor) => x,
}
