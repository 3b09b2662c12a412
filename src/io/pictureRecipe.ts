/** Reads a preprocessor_config.json: how pictures are prepared for a vision model. */

import type { Filter, PictureRecipe } from './pictures.ts'

type Json = Readonly<Record<string, unknown>>

/** Filters by the numbers that Pillow has for them. */
const filters: Readonly<Record<number, Filter>> = { 0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic' }

/** The recipe of ViT's own image processor for square images, for a model folder without one. */
export function usualRecipe(side: number): PictureRecipe {
  return {
    size: { width: side, height: side },
    filter: 'bilinear',
    scale: 1 / 255,
    mean: [0.5, 0.5, 0.5],
    deviation: [0.5, 0.5, 0.5],
  }
}

/**
 * The recipe of a preprocessor_config.json; keys that are missing are as ViT's image processor has them.
 * @throws Error naming the key that is wrong or not supported.
 */
export function readPictureRecipe(json: Json): PictureRecipe {
  const filter = filters[(json.resample ?? 2) as number]
  if (!filter) throw wrong('resample', json.resample, '0 (nearest), 1 (lanczos), 2 (bilinear) or 3 (bicubic)')
  const normalises = json.do_normalize ?? true
  const usual = usualRecipe(224)
  const crop = json.do_center_crop ? readSize('crop_size', json.crop_size ?? usual.size) : undefined
  if (crop && 'shortest' in crop) throw wrong('crop_size', json.crop_size, 'a height and a width')
  return {
    ...(json.do_resize !== false && { size: readSize('size', json.size ?? usual.size) }),
    filter,
    ...(crop && { crop }),
    scale: json.do_rescale === false ? 1 : readScale(json.rescale_factor ?? usual.scale),
    mean: normalises ? readColours('image_mean', json.image_mean ?? usual.mean) : [0, 0, 0],
    deviation: normalises ? readColours('image_std', json.image_std ?? usual.deviation) : [1, 1, 1],
  }
}

/** A number for a square, `{ height, width }` or `{ shortest_edge }`. */
function readSize(key: string, value: unknown): NonNullable<PictureRecipe['size']> {
  const {
    width,
    height,
    shortest_edge: shortest,
  } = (typeof value === 'number' ? { width: value, height: value } : Object(value)) as Json
  if (isSide(width) && isSide(height)) return { width, height }
  if (isSide(shortest)) return { shortest }
  throw wrong(key, value, 'whole numbers of pixels up to 16384, as height and width or as shortest_edge')
}

function isSide(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 16384
}

function readScale(value: unknown): number {
  if (typeof value === 'number' && value > 0 && value < Infinity) return value
  throw wrong('rescale_factor', value, 'a number above 0')
}

function readColours(key: string, value: unknown): number[] {
  const numbers = Array.isArray(value) && value.length === 3 && value.every((one) => Number.isFinite(one))
  if (numbers && (key === 'image_mean' || value.every((one) => one > 0))) return value
  throw wrong(key, value, 'three numbers, one per colour')
}

function wrong(key: string, got: unknown, want: string): Error {
  return new Error(`preprocessor_config.json: ${key}: got ${JSON.stringify(got)}, want ${want}`)
}
