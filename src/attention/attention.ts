/** What every kind of attention gives: parameters, weights to look at, the fast form, and a memory to read on with. */

import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { ParamSpecs } from '../nn/params.ts'
import type { HeadSizes, Heads } from './heads.ts'
import type { Memory } from './memory.ts'
import type { Visibility } from './softmax.ts'

/** One kind of attention with its settings. All forms give the same result. `params` are those of {@link Attention.params}. */
export interface Attention {
  /** What it adds to a layer's attention module; empty for attention that is not learned. */
  params(sizes: HeadSizes): ParamSpecs
  /** Weights before their normalisation, none below 0: (b h l d), (b h s d) -> (b h l s). */
  scores(params: Tensors, heads: Pick<Heads, 'q' | 'k'>, visibility: Visibility): Tensor
  /** The parallel form's weights, rows that sum to 1: (b h l d), (b h s d) -> (b h l s). */
  weights(params: Tensors, heads: Pick<Heads, 'q' | 'k'>, visibility: Visibility): Tensor
  /** The fast form, for training: heads -> (b h l e). */
  attend(params: Tensors, heads: Heads, visibility: Visibility): Tensor
  /** The recurrent form. */
  memory(sizes: HeadSizes): Memory
  /** The most positions that it is defined for; Infinity where not given. */
  readonly positions?: number
}
