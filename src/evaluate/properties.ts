/** The table of properties of attention weights that the paper measures: a new one is one entry here and its name. */

import { divergence, entropy } from '../attention/distillation.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { PropertyName } from './propertyNames.ts'
import type { Steadiness } from './steadiness.ts'

/** One property of a head; values are means over queries. */
export interface Property {
  /** A short title for tables, at most eight letters. */
  readonly title: string
  /** One line for help and docs. */
  readonly summary: string
  readonly unit: 'nats' | 'share' | 'correlation'
  /** What is best: a low or a high value, or the one that softmax has. */
  readonly best: 'low' | 'high' | 'softmax'
  /** In the graph, over all queries: weights of softmax and of the student (b h l s) -> (b h l 1). */
  readonly perQuery?: (softmax: Tensor, student: Tensor) => Tensor
  /** On the host, over some queries: from how a row's weights rise with its q·k. */
  readonly perRow?: (row: Steadiness) => number
}

/** Every property, in the order of tables. */
export const properties = {
  kl: {
    title: 'KL',
    summary: 'KL(softmax ‖ student) of the weights; a weight of the student below 1e-30 counts as 1e-30',
    unit: 'nats',
    best: 'low',
    perQuery: divergence,
  },
  entropy: {
    title: 'entropy',
    summary: 'entropy of the weights: low is spiky',
    unit: 'nats',
    best: 'softmax',
    perQuery: (_softmax, student) => entropy(student),
  },
  monotonicity: {
    title: 'monotone',
    summary: "Spearman's correlation of the weight with q·k over the visible keys",
    unit: 'correlation',
    best: 'high',
    perRow: ({ correlation }) => correlation,
  },
  inversions: {
    title: 'inverted',
    summary: 'share of the pairs of visible keys whose weights are ordered against their q·k; ties are no inversions',
    unit: 'share',
    best: 'low',
    perRow: ({ inversions }) => inversions,
  },
} as const satisfies Record<PropertyName, Property>
