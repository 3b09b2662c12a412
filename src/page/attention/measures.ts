/** Numbers of attention weights that are small enough to be looked at whole. */

import type { NDArray } from '../../base/array.ts'
import { steadiness } from '../../evaluate/steadiness.ts'
import type { Look, Rows } from './types.ts'

/** Weights and scores of one layer: (1 h l l), of which the first `length` queries count. */
export type LayerLook = Readonly<Record<'softmax' | 'linear' | 'scores', NDArray>>

/** A head of a layer. */
export interface Place {
  layer: number
  head: number
}

interface Sizes {
  readonly heads: number
  readonly length: number
  readonly causal: boolean
}

/** As in the table of properties: a smaller weight counts as this. */
const floor = 1e-30

/** What a look tells of one head, and the KL of all. */
export function measured(
  layers: readonly LayerLook[],
  { layer, head }: Place,
  sizes: Sizes,
): Pick<Look, 'softmax' | 'linear' | 'scores' | 'entropy' | 'monotonicity' | 'kl'> {
  const rows = (array: NDArray, of: number) => rowsOf(array, of, sizes)
  const shown = layers[layer]!
  const [softmax, linear, scores] = [rows(shown.softmax, head), rows(shown.linear, head), rows(shown.scores, head)]
  return {
    softmax,
    linear,
    scores,
    entropy: { softmax: mean(softmax.map(entropy)), linear: mean(linear.map(entropy)) },
    monotonicity: mean(scores.flatMap((row, i) => (row.length < 3 ? [] : steadiness(row)(linear[i]!).correlation))),
    kl: layers.map((one) =>
      Array.from({ length: sizes.heads }, (_, h) => {
        const [p, q] = [rows(one.softmax, h), rows(one.linear, h)]
        return mean(p.map((row, i) => divergence(row, q[i]!)))
      }),
    ),
  }
}

/** The head whose softmax weights have the lowest entropy. */
export function spikiest(layers: readonly LayerLook[], sizes: Sizes): Place {
  const all = layers.flatMap(({ softmax }, layer) =>
    Array.from({ length: sizes.heads }, (_, head) => {
      return { layer, head, entropy: mean(rowsOf(softmax, head, sizes).map(entropy)) }
    }),
  )
  const { layer, head } = all.reduce((least, one) => (one.entropy < least.entropy ? one : least))
  return { layer, head }
}

/** The weights of a head that count: [query][key that it sees]. */
function rowsOf(array: NDArray, head: number, { length, causal }: Sizes): Rows {
  const l = array.shape[2]!
  return Array.from({ length }, (_, i) => {
    const start = (head * l + i) * l
    return Array.from(array.data.subarray(start, start + (causal ? i + 1 : length)))
  })
}

const entropy = (row: readonly number[]): number => row.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0)

/** KL(p ‖ q) in nats. */
const divergence = (p: readonly number[], q: readonly number[]): number =>
  p.reduce((sum, value, i) => sum + (value > 0 ? value * Math.log(value / Math.max(q[i]!, floor)) : 0), 0)

const mean = (values: readonly number[]): number =>
  values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0) / values.length
