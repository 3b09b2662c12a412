/** No attention at all: the control that shows what a model's other parts do alone. */

import { matmul, mul, transpose } from '../../graph/ops.ts'
import type { Attention } from '../attention.ts'

export const noneKind: Attention = {
  params: () => ({}),
  scores: (_params, { q, k }) => mul(matmul(q, transpose(k)), 0),
  weights: (_params, { q, k }) => mul(matmul(q, transpose(k)), 0),
  attend: (_params, { v }) => mul(v, 0),
  memory: () => ({
    empty: () => ({}),
    reserve: (kept) => kept,
    past: (kept) => kept,
    attend: (_past, _params, { v }) => ({ y: mul(v, 0), next: {} }),
    keep: (kept) => kept,
    overwrites: [],
    ignoresPosition: true,
  }),
}
