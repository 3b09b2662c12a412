/** The table of activations, by the names that a config.json calls them. */

import { gelu, geluExact, relu } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Json } from './model.ts'

const activations: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  gelu: geluExact,
  gelu_new: gelu,
  gelu_pytorch_tanh: gelu,
  relu,
}

/** The names that {@link activationOf} knows. */
export const activationNames = Object.keys(activations)

/** The activation that a config.json names as `hidden_act`, `gelu` where it names none. */
export function activationOf({ hidden_act: name = 'gelu' }: Json): (x: Tensor) => Tensor {
  return activations[String(name)]!
}
