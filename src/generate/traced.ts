/** The functions that reading a text compiles: a block that goes on from a memory, and the output layer. */

import type { Memory } from '../attention/memory.ts'
import type { FloatArray } from '../base/array.ts'
import { traceBlock } from '../execute/blocks.ts'
import { add, exp, log, max, sub, sum } from '../graph/ops.ts'
import type { TraceOptions } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { ModelConfig } from '../models/model.ts'
import { tokenLogits } from '../nn/loss.ts'
import { below, prefixed } from '../nn/params.ts'
import type { BatchMemory } from './rows.ts'
import type { RowWeights } from './rowWeights.ts'

/** Up to 32 rows a product takes less time to compute than to read its matrix: at 8 rows, half as long as not turned. */
export const decoding: TraceOptions = { turnedRows: 32 }

/** Logits (t v), and ln Σ exp of each row: a logit less it is ln of the probability. */
export interface Logits {
  readonly logits: FloatArray
  readonly logSums: Float32Array
}

/** A layer's memory for one sequence and for several. */
export interface LayerMemory {
  readonly memory: Memory
  readonly rows: BatchMemory
}

/** A block whose attention goes on from inputs `past.…` and hands out results `next.…`. */
export function tracedBlock(config: ModelConfig, layer: number, memory: Memory, inputs: Tensors): Tensors {
  let next: Tensors = {}
  const y = traceBlock(config, layer, inputs, {
    attend: (params) => (heads) => {
      const attended = memory.attend(below('past.', inputs), params, heads)
      next = attended.next
      return attended.y
    },
  })
  return { y, ...prefixed('next.', next) }
}

/** Logits and ln Σ exp of them: (t e), (v e) -> (t v), (t 1). */
export function tracedLogits({ h, unembedding, bias }: Tensors): Tensors {
  const logits = tokenLogits({ h: h!, unembedding: unembedding!, ...(bias && { bias }) })
  const top = max(logits, [-1])
  return { logits, logSums: add(top, log(sum(exp(sub(logits, top)), [-1]))) }
}

/** The inputs of a block, its parameters `p.…` as the family's functions want them. */
export function restored({ asStored }: RowWeights, prefix: string, inputs: Tensors): Tensors {
  return { ...inputs, ...prefixed('p.', asStored(below('p.', inputs), prefix)) }
}
