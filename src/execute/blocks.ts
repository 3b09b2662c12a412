/** Blocks as compiled functions: one per distinct block, whatever the number of layers. */

import type { Attend } from '../attention/heads.ts'
import { attendBy } from '../attention/plan.ts'
import type { FloatArray, NDArray, Params } from '../base/array.ts'
import { mul, reshape, slice } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { Family, ModelConfig } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import { type Compiled, compile } from '../runtime/compile.ts'
import type { Device } from '../runtime/device.ts'

/** Compiled functions by key, made when first asked for. */
export interface FunctionCache {
  get(key: string, build: () => (inputs: Tensors) => Tensors): Compiled
  /** How many distinct functions there are. */
  readonly size: number
  dispose(): Promise<void>
}

export function functionCache(device: Device): FunctionCache {
  const known = new Map<string, Compiled>()
  return {
    get(key, build) {
      let compiled = known.get(key)
      if (!compiled) {
        compiled = compile(device, build())
        known.set(key, compiled)
      }
      return compiled
    },
    get size() {
      return known.size
    },
    async dispose() {
      for (const compiled of known.values()) await compiled.dispose()
      known.clear()
    },
  }
}

/** A key that is equal for layers whose blocks compute the same function of their inputs and parameters. */
export function blockKey(config: ModelConfig, layer: number): string {
  return JSON.stringify(config.attention[layer])
}

/** One block's parameters, named as the inputs of its compiled functions. */
export function blockInputs(config: ModelConfig, params: Params, layer: number): Record<string, FloatArray> {
  return prefixed('p.', below(familyOf(config).blockPrefix(layer), params))
}

/** What a traced block is told besides its inputs; each has a default. */
export interface BlockOptions {
  /** Default: what the layer's plan says. Given the parameters of the attention module. */
  readonly attend?: (params: Tensors) => Attend
  /** Default: keeps nothing. */
  readonly save?: (name: string, value: Tensor) => Tensor
}

/** Traces a block on inputs `x`, `p.…` and, in training with dropout, `mask` (drops b l e). */
export function traceBlock(config: ModelConfig, layer: number, inputs: Tensors, options: BlockOptions = {}): Tensor {
  const family = familyOf(config)
  const params = below('p.', inputs)
  const inner = below(family.attentionPrefix, params)
  const plan = config.attention[layer]!
  const attend = options.attend?.(inner) ?? attendBy(plan, inner, { causal: config.causal })
  return family.block(config, params, inputs.x!, {
    attend,
    save: options.save ?? ((_name, value) => value),
    drop: dropper(inputs.mask),
  })
}

/** The head's parameters, named as inputs. */
export function headInputs(family: Family, params: Params): Record<string, NDArray> {
  return Object.fromEntries(family.headPaths.map((path) => [`p.${path}`, params[path]!]))
}

/** Multiplies each branch with the next layer of the mask. */
function dropper(mask: Tensor | undefined): (branch: Tensor) => Tensor {
  if (!mask) return (branch) => branch
  let next = 0
  return (branch) => {
    const layer = slice(mask, 0, next, next + 1)
    next += 1
    return mul(branch, reshape(layer, branch.shape))
  }
}
