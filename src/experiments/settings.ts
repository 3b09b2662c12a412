/** Short forms of settings: a number, what it means, and whether it was published or chosen. */

import type { Setting } from './experiment.ts'

/** A setting that the paper, or a source that it follows, gives. */
export const published = (value: number, meaning: string, quick?: number): Setting => ({
  value,
  meaning,
  origin: 'published',
  ...(quick !== undefined && { quick }),
})

/** A setting that no source gives. */
export const chosen = (value: number, meaning: string, quick?: number): Setting => ({
  ...published(value, meaning, quick),
  origin: 'chosen',
})
