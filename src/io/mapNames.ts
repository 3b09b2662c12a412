/** Feature maps as other programs keep them in checkpoints: tables of names and shapes, in both directions. */

import { type FloatArray, floats, type Params, transposed } from '../base/array.ts'

/** One parameter of an attention module in two programs. */
interface Twin {
  readonly theirs: string
  readonly ours: string
  /** The same values in our shape. */
  toOurs(array: FloatArray): FloatArray
  toTheirs(array: FloatArray): FloatArray
}

const same = (array: FloatArray): FloatArray => array

/** A sort of reshaping that keeps the values: to what rank, and how. */
const reshaped =
  (shapeOf: (size: number) => readonly number[]) =>
  ({ data }: FloatArray): FloatArray =>
    floats(shapeOf(data.length), data)

const both = (twin: (side: 'q' | 'k') => Twin): readonly Twin[] => [twin('q'), twin('k')]

/**
 * Programs by name. `lolcats` has one W (h d r) per head, as `hedgehog-softmax`, and the gates of a hybrid;
 * `fla` (flash-linear-attention) one linear layer with bias for the heads of a layer, as `hedgehog-softmax-joint`.
 */
export const mapDialects = {
  lolcats: [
    ...both((side) => ({
      theirs: `feature_map_${side}.mlp.layer`,
      ours: `feature_map_${side}.weight`,
      toOurs: same,
      toTheirs: same,
    })),
    {
      theirs: 'window_factors',
      ours: 'window_gate',
      toOurs: reshaped((heads) => [heads]),
      toTheirs: reshaped((heads) => [1, heads, 1, 1]),
    },
  ],
  fla: [
    ...both((side) => ({
      theirs: `feature_map_${side}.layer.weight`,
      ours: `feature_map_${side}.weight`,
      toOurs: transposed,
      toTheirs: transposed,
    })),
    ...both((side) => ({
      theirs: `feature_map_${side}.layer.bias`,
      ours: `feature_map_${side}.bias`,
      toOurs: reshaped((size) => [1, size]),
      toTheirs: reshaped((size) => [size]),
    })),
  ],
} as const satisfies Readonly<Record<string, readonly Twin[]>>

/** A program whose feature maps can be exchanged. */
export type MapDialect = keyof typeof mapDialects

/** A parameter as another program has it. */
export interface Renamed {
  readonly path: string
  /** Its values in the shape that they have there. */
  convert(array: FloatArray): FloatArray
}

/** Parameters with the feature maps of another program under our names; all others are left as they are. */
export function mapsFrom(dialect: MapDialect, params: Params): Params {
  return allBy((path) => renamed(path, mapDialects[dialect], 'theirs', 'ours', 'toOurs'), params)
}

/** Parameters with our feature maps under the names of another program; all others are left as they are. */
export function mapsTo(dialect: MapDialect, params: Params): Params {
  return allBy((path) => mapTo(dialect, path), params)
}

/** A parameter of ours under the name of another program where it is of a feature map; all others are left as they are. */
export function mapTo(dialect: MapDialect, path: string): Renamed {
  return renamed(path, mapDialects[dialect], 'ours', 'theirs', 'toTheirs')
}

function allBy(rename: (path: string) => Renamed, params: Params): Params {
  return Object.fromEntries(
    Object.entries(params).map(([path, array]) => {
      const other = rename(path)
      return [other.path, other.convert(array)]
    }),
  )
}

function renamed(
  path: string,
  twins: readonly Twin[],
  from: 'theirs' | 'ours',
  to: 'theirs' | 'ours',
  convert: 'toOurs' | 'toTheirs',
): Renamed {
  const twin = twins.find((known) => path === known[from] || path.endsWith(`.${known[from]}`))
  if (!twin) return { path, convert: same }
  return { path: path.slice(0, -twin[from].length) + twin[to], convert: twin[convert] }
}
