/** The norm of all gradients together, and the factor that keeps it within a bound. */

import type { FloatArray, Params } from '../base/array.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'

/** What {@link clip} found. */
export interface Clipped {
  /** The global norm, `scale` applied, before clipping: what a training log shows. */
  readonly norm: number
  /** What to multiply the gradients by, `scale` included: an optimizer's `gradScale`. */
  readonly gradScale: number
}

/**
 * The Euclidean norm over all elements of all arrays, summed in float64.
 * @throws Error naming the parameter path, the position and the value where an element is not finite.
 */
export function globalNorm(grads: Params, kernels: Kernels = plainKernels): number {
  let sum = 0
  for (const [path, gradient] of Object.entries(grads)) {
    const squares = kernels.sumSquares(gradient)
    if (!Number.isFinite(squares)) throw notFinite(path, gradient.data)
    sum += squares
  }
  return Math.sqrt(sum)
}

/**
 * The factor under which the global norm of the gradients is at most `maxNorm`; nothing is changed here, so that the
 * optimizer applies it in its own pass. Gradients of zero keep the factor `scale`.
 * @param options.maxNorm Above 0; Infinity measures only. Default 1.
 * @param options.scale What the gradients are owed anyway, e.g. one over the number of tokens; above 0. Default 1.
 * @throws RangeError when an option is out of range. @throws Error as {@link globalNorm}.
 */
export function clip(
  grads: Params,
  options: { readonly maxNorm?: number; readonly scale?: number } = {},
  kernels: Kernels = plainKernels,
): Clipped {
  const { maxNorm = 1, scale = 1 } = options
  if (!(maxNorm > 0)) throw new RangeError(`clip: got maxNorm ${maxNorm}, want a number above 0 or Infinity`)
  if (!(scale > 0 && scale < Infinity)) throw new RangeError(`clip: got scale ${scale}, want a finite number above 0`)
  const norm = globalNorm(grads, kernels) * scale
  return { norm, gradScale: norm > maxNorm ? (scale * maxNorm) / norm : scale }
}

/**
 * {@link clip} of each group of gradients by itself, such as those of a layer, which then learns as if it were alone.
 * Unlike there, gradients that are too large are scaled here, in place.
 */
export function clipGroups(
  grads: Params,
  groupOf: (path: string) => string | number,
  maxNorm: number,
  kernels: Kernels = plainKernels,
): Clipped {
  const groups = new Map<string | number, Record<string, FloatArray>>()
  for (const [path, gradient] of Object.entries(grads)) {
    const group = groups.get(groupOf(path)) ?? {}
    group[path] = gradient
    groups.set(groupOf(path), group)
  }
  let squares = 0
  for (const group of groups.values()) {
    const { norm, gradScale } = clip(group, { maxNorm }, kernels)
    if (gradScale !== 1) for (const gradient of Object.values(group)) kernels.scale(gradient, gradScale)
    squares += norm ** 2
  }
  return { norm: Math.sqrt(squares), gradScale: 1 }
}

function notFinite(path: string, data: Float32Array): Error {
  const at = data.findIndex((value) => !Number.isFinite(value))
  return new Error(
    `globalNorm: the gradient of ${path} is not finite, got ${data[at]} at element ${at} of ${data.length}; ` +
      'lower the learning rate or look for a division by zero in the model',
  )
}
