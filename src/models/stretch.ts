/** Longer texts than a model has positions for: learned position embeddings stretched over a greater length. */

import { type FloatArray, floats } from '../base/array.ts'
import { familyOf } from './families.ts'
import type { Json, Model } from './model.ts'

/** Keys of config.json files that hold the number of learned positions. */
const lengthKeys = ['n_positions', 'n_ctx', 'max_position_embeddings'] as const

/**
 * The same model with positions for a text of `length` tokens. Learned embeddings are interpolated linearly between
 * their rows, the first and the last staying where they are (the same idea for rotary angles: arXiv 2306.15595), which
 * changes a model that was not trained so. Rotary models keep their positions. All other weights are the same arrays.
 * @throws RangeError when `length` is shorter than what the model has; TypeError for a model that reads no tokens.
 */
export function stretchPositions(model: Model, length: number): Model {
  const { config, params } = model
  const family = familyOf(config)
  if (length === config.maxLength) return model
  const learned = family.lookups.filter(({ by }) => by === 'positions')
  if (learned.length === 0 && !family.positional) {
    throw new TypeError(`stretchPositions: got a ${config.family}, want a model that reads tokens by position`)
  }
  if (!Number.isInteger(length) || length < config.maxLength) {
    throw new RangeError(`stretchPositions: got ${length} positions, want at least the model's ${config.maxLength}`)
  }
  const tables = learned.map(({ table, offset = 0 }) => [
    table,
    stretchedRows(params[table]!, config.maxLength, length, offset),
  ])
  const keys = lengthKeys.filter((key) => config.json[key] !== undefined)
  const rows = length + (learned[0]?.offset ?? 0)
  const json: Json = { ...config.json, ...Object.fromEntries(keys.map((key) => [key, rows])) }
  return { config: { ...config, maxLength: length, json }, params: { ...params, ...Object.fromEntries(tables) } }
}

/** Whether a text of this length needs {@link stretchPositions}. */
export function needsStretching({ config }: Pick<Model, 'config'>, length: number): boolean {
  return length > config.maxLength && familyOf(config).lookups.some(({ by }) => by === 'positions')
}

/** Rows [offset, offset + from) spread over `to` rows, those before them kept: (offset+from e) -> (offset+to e). */
function stretchedRows({ shape, data }: FloatArray, from: number, to: number, offset: number): FloatArray {
  const width = shape[1]!
  const stretched = floats([offset + to, width])
  stretched.data.set(data.subarray(0, offset * width))
  for (let row = 0; row < to; row++) {
    const place = (row * (from - 1)) / Math.max(to - 1, 1)
    const below = Math.min(Math.floor(place), from - 1)
    const above = Math.min(below + 1, from - 1)
    const share = place - below
    for (let column = 0; column < width; column++) {
      const at = (of: number) => data[(offset + of) * width + column]!
      stretched.data[(offset + row) * width + column] = at(below) * (1 - share) + at(above) * share
    }
  }
  return stretched
}
