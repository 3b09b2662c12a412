/** Layers: each a description of parameters and, next to it, the function that uses them. */

import {
  add,
  concat,
  cumsum,
  equal,
  expand,
  matmul,
  mul,
  layerNorm as normalise,
  reshape,
  rmsNorm as rms,
  rotate,
  sigmoid,
  slice,
  split,
  transpose,
} from '../graph/ops.ts'
import { dims } from '../graph/shapes.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { ParamSpecs } from './params.ts'

/** What {@link linear} and {@link dense} compute with. */
export interface LinearParams {
  readonly weight: Tensor
  readonly bias?: Tensor
  /** The halves of a low-rank adapter (arXiv 2106.09685), (r i) and (o r), its scale in the second. */
  readonly 'lora_A.weight'?: Tensor
  readonly 'lora_B.weight'?: Tensor
  /** Dropout on what the adapter reads: factors (rows i). */
  readonly lora_dropout?: Tensor
}

/** Weight [inputs, outputs] and bias of {@link linear}, as GPT-2's Conv1D stores them. */
export function linearParams(inputs: number, outputs: number, std: number): ParamSpecs {
  return {
    weight: { shape: [inputs, outputs], initial: { normal: std }, inputAxis: 0 },
    bias: { shape: [outputs], initial: 'zeros' },
  }
}

/** x W + b over the last axis, and x Aᵀ Bᵀ where there is an adapter: (… i), (i o), (o) -> (… o). */
export function linear(params: LinearParams, x: Tensor): Tensor {
  return projected(params, params.weight, x)
}

/** Weight [outputs, inputs] of {@link dense}, as torch's Linear stores it, and its bias unless that is turned off. */
export function denseParams(inputs: number, outputs: number, std: number, bias = true): ParamSpecs {
  return {
    weight: { shape: [outputs, inputs], initial: { normal: std }, inputAxis: 1 },
    ...(bias && { bias: { shape: [outputs], initial: 'zeros' } }),
  }
}

/** x Wᵀ + b over the last axis, and x Aᵀ Bᵀ where there is an adapter: (… i), (o i), (o) -> (… o). */
export function dense(params: LinearParams, x: Tensor): Tensor {
  return projected(params, transpose(params.weight), x)
}

function projected({ bias, lora_dropout: dropout, ...params }: LinearParams, weight: Tensor, x: Tensor): Tensor {
  const rows = reshape(x, [-1, x.shape.at(-1)!])
  let y = matmul(rows, weight)
  if (bias) y = add(y, bias)
  const { 'lora_A.weight': a, 'lora_B.weight': b } = params
  if (a && b) y = add(y, matmul(matmul(dropout ? mul(rows, dropout) : rows, transpose(a)), transpose(b)))
  return reshape(y, [...x.shape.slice(0, -1), weight.shape[1]!])
}

/** Scale and bias of {@link layerNorm}. */
export function layerNormParams(width: number): ParamSpecs {
  return { weight: { shape: [width], initial: 'ones' }, bias: { shape: [width], initial: 'zeros' } }
}

/** Layer normalisation over the last axis. */
export function layerNorm(
  params: { readonly weight: Tensor; readonly bias: Tensor },
  x: Tensor,
  epsilon: number,
): Tensor {
  return normalise(x, params.weight, params.bias, epsilon)
}

/** Scale of {@link rmsNorm}. */
export function rmsNormParams(width: number): ParamSpecs {
  return { weight: { shape: [width], initial: 'ones' } }
}

/** x / √(mean of x² + epsilon) · scale over the last axis (arXiv 1910.07467). */
export function rmsNorm({ weight }: { readonly weight: Tensor }, x: Tensor, epsilon: number): Tensor {
  return rms(x, weight, epsilon)
}

/** Swish of the gate times `up`, x · σ(x) · up: the gated unit of Llama's feed-forward layer (arXiv 2002.05202). */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  // In this order, as ONNX Runtime fuses x · σ(x) into an operator that has no float64.
  return mul(mul(gate, up), sigmoid(gate))
}

/** (b l e) -> (b h l d) with e = h d. @throws RangeError when the heads do not divide the width. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const { b, l, e } = dims('splitHeads', { x }, { x: 'b l e' })
  if (e! % heads) throw new RangeError(`splitHeads: got a width of ${e}, want a multiple of ${heads} heads`)
  return transpose(reshape(x, [b!, l!, heads, e! / heads]), [0, 2, 1, 3])
}

/** (b h l d) -> (b l e) with e = h d. */
export function joinHeads(x: Tensor): Tensor {
  const { b, h, l, d } = dims('joinHeads', { x }, { x: 'b h l d' })
  return reshape(transpose(x, [0, 2, 1, 3]), [b!, l!, h! * d!])
}

/** The state at the first position: (b l e) -> (b e). */
export function firstOf(x: Tensor): Tensor {
  const { b, e } = dims('firstOf', { x }, { x: 'b l e' })
  return reshape(slice(x, 1, 0, 1), [b!, e!])
}

/** The state at the last position that is no padding, the last of all without a mask: (b l e), (b l) -> (b e). */
export function lastReal(x: Tensor, keyMask?: Tensor): Tensor {
  const { b, l, e } = dims('lastReal', { x }, { x: 'b l e' })
  if (!keyMask) return reshape(slice(x, 1, l! - 1, l!), [b!, e!])
  const after = cumsum(keyMask, 1, { exclusive: true, reverse: true })
  const isLast = mul(keyMask, equal(after, 0))
  return reshape(matmul(reshape(isLast, [b!, 1, l!]), x), [b!, e!])
}

/** Each key or value head serves `times` query heads: (b g s d) -> (b h s d) with h = g · times. */
export function repeatHeads(x: Tensor, times: number): Tensor {
  if (times === 1) return x
  const { b, g, s, d } = dims('repeatHeads', { x }, { x: 'b g s d' })
  const wide = expand(reshape(x, [b!, g!, 1, s!, d!]), [b!, g!, times, s!, d!])
  return reshape(wide, [b!, g! * times, s!, d!])
}

/**
 * Rotary position embedding in the two-halves form (arXiv 2104.09864, as Llama checkpoints order it).
 * (b h l d), (l r), (l r) -> (b h l d); `cosine` and `sine` hold position · base^(−i/r), i < r ≤ d/2, or are (b 1 l r)
 * where sequences stand at different positions. The first 2 r components are turned, the others stay.
 * @throws RangeError when the tables have more columns than half the head dimension.
 */
export function rotary(x: Tensor, cosine: Tensor, sine: Tensor): Tensor {
  const table = cosine.shape.length === 2 ? 'l r' : 'b one l r'
  const { d, r } = dims('rotary', { x, cosine, sine }, { x: 'b h l d', cosine: table, sine: table })
  if (2 * r! > d!) throw new RangeError(`rotary: got tables of ${r} columns, want at most half the head dimension ${d}`)
  if (2 * r! === d!) return rotate(x, cosine, sine)
  const [turned, rest] = split(x, [2 * r!, d! - 2 * r!], -1) as [Tensor, Tensor]
  return concat([rotate(turned, cosine, sine), rest], -1)
}
