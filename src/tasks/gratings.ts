/** Pictures that are drawn: stripes whose direction is their class, for where no pictures are at hand. */

import type { Random } from '../base/random.ts'
import type { Split } from '../io/corpus.ts'
import { checkSizes } from './draws.ts'
import type { Example } from './examples.ts'

/** What pictures are drawn. */
export interface GratingOptions {
  readonly classes: number
  /** Pixels of a side. */
  readonly side: number
  /** Values of a pixel: 1 for grey, 3 for red, green and blue of different weight. Default 1. */
  readonly channels?: number
  /** Pictures to learn from. */
  readonly train: number
  /** Pictures to validate on, and as many to measure on. */
  readonly held: number
}

/**
 * Stripes of random place, width and noise, turned by class / classes of half a turn; each picture is its pixels row by row, 0 … 255.
 * @throws RangeError for sizes below 1.
 */
export function drawnGratings(options: GratingOptions, rng: Random): Split<Example<Uint8Array>> {
  const { classes, side, channels = 1, train, held } = options
  checkSizes('drawnGratings', 1, { classes, side, channels, train, held })
  const part = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => grating(i % classes, { classes, side, channels }, rng.split(name).split(i)))
  return { train: part('train', train), validation: part('validation', held), test: part('test', held) }
}

function grating(
  label: number,
  { classes, side, channels }: { readonly classes: number; readonly side: number; readonly channels: number },
  rng: Random,
): Example<Uint8Array> {
  const angle = (Math.PI * label) / classes
  const frequency = (2 * Math.PI * (2 + rng.uniform())) / side
  const phase = 2 * Math.PI * rng.uniform()
  const weights = Array.from({ length: channels }, () => (channels === 1 ? 1 : 0.5 + rng.uniform() / 2))
  const input = Uint8Array.from({ length: side * side * channels }, (_, i) => {
    const place = Math.floor(i / channels)
    const along = (place % side) * Math.cos(angle) + Math.floor(place / side) * Math.sin(angle)
    const light = 0.5 + 0.4 * Math.sin(frequency * along + phase) * weights[i % channels]! + 0.05 * rng.normal()
    return Math.round(255 * Math.min(1, Math.max(0, light)))
  })
  return { input, label }
}
