/** What blocks keep for their way back, by how much memory it takes. */

import { ints, sizeOf } from '../base/array.ts'
import { type Tensors, trace } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { prefixed } from '../nn/params.ts'
import { sharedInputs, traceBlock } from './blocks.ts'

/** Bytes of the values that a family's block keeps of `batch` sequences of `length` tokens. */
export function savedBytes(
  config: ModelConfig,
  { batch, length }: { readonly batch: number; readonly length: number },
): number {
  const family = familyOf(config)
  const params = family.blockParams(config, 0)
  const inputs = {
    x: float([batch, length + (family.prepended ?? 0), config.width]),
    ...prefixed('p.', Object.fromEntries(Object.entries(params).map(([path, { shape }]) => [path, float(shape)]))),
    ...sharedInputs(config)({ ids: ints([batch, length]) }),
  }
  let numbers = 0
  const block = (given: Tensors): Tensors => ({
    y: traceBlock(config, 0, given, {
      save(name, value) {
        if (family.saved.includes(name)) numbers += sizeOf(value.shape)
        return value
      },
    }),
  })
  trace(block, inputs)
  return 4 * numbers
}

const float = (shape: readonly number[]) => ({ dtype: 'float32', shape }) as const
