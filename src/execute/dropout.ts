/** Factors that drop a share of values and scale up the others, drawn from streams by name: drawn again they are the same. */

import { type FloatArray, floats, sizeOf } from '../base/array.ts'
import type { Random } from '../base/random.ts'
import { adapterPairs } from '../models/adapter.ts'
import type { ModelConfig } from '../models/model.ts'
import type { Arrays } from '../runtime/device.ts'

/** 0 with probability `rate`, else 1 / (1 − rate). @throws TypeError without a random stream. */
export function dropoutFactors(
  rng: Random | undefined,
  name: string,
  shape: readonly number[],
  rate: number,
): FloatArray {
  if (!rng) throw new TypeError('accumulate: dropout is on; pass a random stream')
  const own = rng.split(name)
  const kept = 1 / (1 - rate)
  return floats(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => (own.uniform() < rate ? 0 : kept)),
  )
}

/** The `lora_dropout` of each linear layer that an adapter with dropout changes, beside its other parameters. */
export function adapterFactors(
  { adapter }: ModelConfig,
  params: Arrays,
  draw: (module: string, width: number, rate: number) => FloatArray,
): Arrays {
  if (!adapter?.dropout) return {}
  return Object.fromEntries(
    adapterPairs(Object.keys(params)).map(({ a }) => {
      const module = a.slice(0, -'lora_A.weight'.length)
      return [`${module}lora_dropout`, draw(module, params[a]!.shape[1]!, adapter.dropout)]
    }),
  )
}
