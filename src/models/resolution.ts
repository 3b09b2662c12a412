/** Images of another size than a ViT was trained on: its position embeddings as a picture of that size. */

import { type FloatArray, floats } from '../base/array.ts'
import { readConfig } from './families.ts'
import type { Model } from './model.ts'
import { imageSizes } from './vit.ts'

const positions = 'embeddings.position_embeddings'

/**
 * The same model for square images of `side` pixels: position embeddings are interpolated, all other weights shared.
 * @throws RangeError unless the patches divide the side; TypeError for a model that reads no images.
 */
export function withImageSide({ config, params }: Model, side: number): Model {
  const { patch } = imageSizes(config)
  if (!Number.isInteger(side) || side < patch || side % patch) {
    throw new RangeError(`withImageSide: got ${side} pixels, want a multiple of the patch size ${patch}`)
  }
  const next = readConfig({ ...config.json, image_size: side })
  const table = interpolatedPositions(params[positions]!, side / patch)
  return { config: { ...next, attention: config.attention }, params: { ...params, [positions]: table } }
}

/**
 * Embeddings of a class token and of a square grid for a grid of `to` by `to`, by bicubic interpolation between the
 * middles of cells, as torch's `interpolate` does it: (1 1+s² e) -> (1 1+to² e).
 * @throws RangeError when the positions are no square and one.
 */
export function interpolatedPositions({ shape, data }: FloatArray, to: number): FloatArray {
  const [rows, width] = [shape[1]! - 1, shape[2]!]
  const from = Math.round(Math.sqrt(rows))
  if (from * from !== rows) throw new RangeError(`interpolatedPositions: got ${rows} patches, want a square number`)
  const taps = Array.from({ length: to }, (_, i) => cubicTaps(((i + 0.5) * from) / to - 0.5, from))
  const table = floats([1, 1 + to * to, width])
  table.data.set(data.subarray(0, width))
  for (let cell = 0; cell < to * to; cell++) {
    const [vertical, horizontal] = [taps[Math.floor(cell / to)]!, taps[cell % to]!]
    for (let c = 0; c < width; c++) {
      let sum = 0
      for (const { at: row, weight: down } of vertical) {
        for (const { at: column, weight: across } of horizontal) {
          sum += down * across * data[(1 + row * from + column) * width + c]!
        }
      }
      table.data[(1 + cell) * width + c] = sum
    }
  }
  return table
}

interface Tap {
  readonly at: number
  readonly weight: number
}

/** The four samples around a place and their weights; beyond the edge the last one is repeated. */
function cubicTaps(place: number, length: number): Tap[] {
  const first = Math.floor(place) - 1
  return [0, 1, 2, 3].map((i) => ({
    at: Math.min(Math.max(first + i, 0), length - 1),
    weight: cubic(Math.abs(place - first - i), -0.75),
  }))
}

/** Keys' cubic convolution kernel with slope parameter a, for distances from 0. */
function cubic(x: number, a: number): number {
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
}
