/** Pictures to what a vision model reads: resized, normalised and cut into patches. */

import { type FloatArray, floats } from '../base/array.ts'

/** A decoded picture: rows of pixels of red, green and blue, 0 to 255 each. */
export interface Picture {
  readonly width: number
  readonly height: number
  /** height · width · 3 values. */
  readonly data: Uint8Array | Uint8ClampedArray
}

/** How the value between pixels is found. */
export type Filter = 'nearest' | 'bilinear' | 'bicubic' | 'lanczos'

/** How pictures are prepared for a model: what a preprocessor_config.json says. */
export interface PictureRecipe {
  /** Pixels that pictures are resized to, unless they are left as they are. */
  readonly size?: { readonly width: number; readonly height: number } | { readonly shortest: number }
  readonly filter: Filter
  /** Pixels that are cut out of the middle after that. */
  readonly crop?: { readonly width: number; readonly height: number }
  /** What values 0 to 255 are multiplied by. */
  readonly scale: number
  /** Then subtracted, per colour. */
  readonly mean: readonly number[]
  /** Then divided by, per colour. */
  readonly deviation: readonly number[]
}

const colours = 3

/**
 * A picture of another size, as Pillow resizes it: each pixel is a weighted mean of all that it covers, rows first,
 * rounded to whole values each time.
 * @throws RangeError unless the sizes are whole numbers from 1.
 */
export function resized(picture: Picture, width: number, height: number, filter: Filter = 'bilinear'): Picture {
  for (const size of [width, height]) {
    if (!Number.isInteger(size) || size < 1)
      throw new RangeError(`resized: got ${width}×${height}, want whole sizes from 1`)
  }
  const narrow = width === picture.width ? picture : resampled(picture, width, filter, true)
  return height === picture.height ? narrow : resampled(narrow, height, filter, false)
}

/** The middle of a picture; where the picture is smaller, black around it. */
export function cropped({ width, height, data }: Picture, to: { width: number; height: number }): Picture {
  const [left, top] = [Math.floor((width - to.width) / 2), Math.floor((height - to.height) / 2)]
  const out = new Uint8Array(to.width * to.height * colours)
  for (let i = 0; i < out.length; i++) {
    const pixel = Math.floor(i / colours)
    const [x, y] = [left + (pixel % to.width), top + Math.floor(pixel / to.width)]
    if (x >= 0 && x < width && y >= 0 && y < height) out[i] = data[(y * width + x) * colours + (i % colours)]!
  }
  return { ...to, data: out }
}

/** A picture as a recipe prepares it: colour planes of normalised values (3 h w). */
export function prepared(picture: Picture, { size, filter, crop, scale, mean, deviation }: PictureRecipe): FloatArray {
  const target = size && sizeOf(picture, size)
  const whole = target ? resized(picture, target.width, target.height, filter) : picture
  const { width, height, data } = crop ? cropped(whole, crop) : whole
  const planes = floats([colours, height, width])
  const area = width * height
  for (let i = 0; i < data.length; i++) {
    const colour = i % colours
    planes.data[colour * area + Math.floor(i / colours)] = (data[i]! * scale - mean[colour]!) / deviation[colour]!
  }
  return planes
}

/**
 * Images cut into square patches, row by row; in a patch colour planes follow each other: (c h w) each -> (b n p).
 * @throws RangeError unless the images are of one shape and the patches divide it.
 */
export function patchesOf(images: readonly FloatArray[], patch: number): FloatArray {
  const [channels, height, width] = images[0]?.shape ?? []
  if (!channels || !height || !width) throw new RangeError('patchesOf: got no image, want at least one (c h w)')
  if (height % patch || width % patch) {
    throw new RangeError(`patchesOf: got ${width}×${height} pixels, want multiples of the patch size ${patch}`)
  }
  const [across, down] = [width / patch, height / patch]
  const size = channels * patch * patch
  const out = floats([images.length, across * down, size])
  for (const [b, { shape, data }] of images.entries()) {
    if (`${shape}` !== `${images[0]!.shape}`) {
      throw new RangeError(`patchesOf: image ${b} is [${shape}], want [${images[0]!.shape}] as the first`)
    }
    // One line of a patch at a time.
    for (let line = 0; line < channels * height * across; line++) {
      const column = line % across
      const y = Math.floor(line / across) % height
      const channel = Math.floor(line / (across * height))
      const from = (channel * height + y) * width + column * patch
      const cell = Math.floor(y / patch) * across + column
      const to = (b * across * down + cell) * size + (channel * patch + (y % patch)) * patch
      out.data.set(data.subarray(from, from + patch), to)
    }
  }
  return out
}

function sizeOf({ width, height }: Picture, size: NonNullable<PictureRecipe['size']>) {
  if ('width' in size) return size
  const factor = size.shortest / Math.min(width, height)
  return width <= height
    ? { width: size.shortest, height: Math.floor(height * factor) }
    : { width: Math.floor(width * factor), height: size.shortest }
}

/** Kernels by filter, each with the distance beyond which it is 0. */
const kernels: Readonly<Record<Filter, { readonly reach: number; readonly weight: (x: number) => number }>> = {
  nearest: { reach: 0, weight: () => 1 },
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { reach: 2, weight: (x) => cubic(Math.abs(x)) },
  lanczos: { reach: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
}

/** Resizes along x or y. */
function resampled({ width, height, data }: Picture, to: number, filter: Filter, alongX: boolean): Picture {
  const from = alongX ? width : height
  const out = alongX ? { width: to, height } : { width, height: to }
  const result = new Uint8ClampedArray(out.width * out.height * colours)
  const [step, lines] = alongX ? [colours, height] : [width * colours, width]
  const start = (line: number, stride: number) => (alongX ? line * stride * colours : line * colours)
  for (let i = 0; i < to; i++) {
    const taps = tapsOf(i, from, to, filter)
    for (let line = 0; line < lines; line++) {
      for (let colour = 0; colour < colours; colour++) {
        let sum = 0
        for (const [k, weight] of taps.weights.entries()) {
          sum += weight * data[start(line, width) + (taps.first + k) * step + colour]!
        }
        // Half up, where a clamped array alone would round half to even.
        result[start(line, out.width) + i * step + colour] = Math.floor(sum + 0.5)
      }
    }
  }
  return { ...out, data: result }
}

/** The pixels that one of the new ones covers, and their weights, which add up to 1. */
function tapsOf(i: number, from: number, to: number, filter: Filter): { first: number; weights: number[] } {
  const ratio = from / to
  const centre = (i + 0.5) * ratio
  const { reach, weight } = kernels[filter]
  if (reach === 0) return { first: Math.min(Math.floor(centre), from - 1), weights: [1] }
  const stretch = Math.max(ratio, 1)
  const first = Math.max(0, Math.floor(centre - reach * stretch + 0.5))
  const last = Math.min(from, Math.floor(centre + reach * stretch + 0.5))
  const weights = Array.from({ length: last - first }, (_, k) => weight((first + k - centre + 0.5) / stretch))
  const total = weights.reduce((sum, one) => sum + one, 0)
  return { first, weights: weights.map((one) => one / total) }
}

/** Keys' cubic convolution kernel with slope −1/2. */
function cubic(x: number): number {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)
}
