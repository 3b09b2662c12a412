/** Blocks as compiled functions: one per distinct block, whatever the number of layers. */

import type { Attend } from '../attention/heads.ts'
import { attendBy } from '../attention/plan.ts'
import type { Visibility } from '../attention/softmax.ts'
import { type FloatArray, floats, type NDArray, type Params } from '../base/array.ts'
import { cast, mul, reshape, slice } from '../graph/ops.ts'
import type { Tensor, TraceOptions } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { scaledAdapters } from '../models/adapter.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig, ModelInputs } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import { type Compiled, compile } from '../runtime/compile.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import type { Start } from './lookups.ts'

/** Compiled functions by key, made when first asked for. */
export interface FunctionCache {
  get(key: string, build: () => (inputs: Tensors) => Tensors): Compiled
  /** How many distinct functions there are. */
  readonly size: number
  dispose(): Promise<void>
}

export function functionCache(device: Device, options?: TraceOptions): FunctionCache {
  const known = new Map<string, Compiled>()
  return {
    get(key, build) {
      let compiled = known.get(key)
      if (!compiled) {
        compiled = compile(device, build(), options)
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

/** Where an executor takes the parameters of blocks from that are not in memory. */
export interface BlockSource {
  /**
   * The parameters of a layer by their paths in the block, in float32 or as float16 words, which its functions cast;
   * good until another layer but `next` is asked for.
   * @param next the layer that is asked for after this one, which may be read meanwhile
   */
  block(layer: number, next?: number): Promise<Arrays>
}

/** {@link blockInputs} of a block, of which `source` has what `params` does not. */
export async function readBlock(
  config: ModelConfig,
  params: Params,
  layer: number,
  { source, next }: { readonly source?: BlockSource | undefined; readonly next?: number },
): Promise<Record<string, NDArray>> {
  const own = blockInputs(config, params, layer)
  return source ? { ...prefixed('p.', await source.block(layer, next)), ...own } : own
}

/** What all blocks are given of a batch, as the inputs of their compiled functions: `keyMask` and `pos.…`. */
export type SharedInputs = (inputs: Pick<ModelInputs, 'ids' | 'keyMask'>, start?: Start) => Arrays

/** Position tables that are kept; a text that is generated asks for new ones at every step. */
const keptTables = 8

/**
 * The shared inputs of a config's blocks; tables of positions are computed once per start and length. Where sequences
 * start at different positions, a table (l …) becomes (b 1 l …), which broadcasts against heads (b h l …).
 */
export function sharedInputs(config: ModelConfig): SharedInputs {
  const { positional } = familyOf(config)
  const known = new Map<string, Readonly<Record<string, FloatArray>>>()
  const tables = (start: number, length: number) => {
    if (!positional) return {}
    const key = `${start} ${length}`
    const found = known.get(key) ?? prefixed('pos.', positional(config, start, length))
    // Taken out and put back, so that the first key is the one used longest ago.
    known.delete(key)
    known.set(key, found)
    if (known.size > keptTables) known.delete(known.keys().next().value!)
    return found
  }
  return ({ ids, keyMask }, start = 0) => {
    if (keyMask && `${keyMask.shape}` !== `${ids.shape.slice(0, 2)}`) {
      throw new RangeError(`keyMask: got shape [${keyMask.shape}], want [${ids.shape.slice(0, 2)}], as the ids have`)
    }
    const starts = [start].flat()
    const found = starts.every((one) => one === starts[0]) ? starts.slice(0, 1) : starts
    const parts = found.map((one) => tables(one, ids.shape[1]!))
    return { ...(keyMask && { keyMask }), ...(parts.length === 1 ? parts[0] : stacked(parts)) }
  }
}

/** Tables (l …) of several sequences as one (b 1 l …). */
function stacked(parts: readonly Readonly<Record<string, FloatArray>>[]): Record<string, FloatArray> {
  return Object.fromEntries(
    Object.entries(parts[0]!).map(([name, { shape, data }]) => {
      const all = floats([parts.length, 1, ...shape])
      for (const [row, part] of parts.entries()) all.data.set(part[name]!.data, row * data.length)
      return [name, all]
    }),
  )
}

/** What a traced block is told besides its inputs; each has a default. */
export interface BlockOptions {
  /** Default: what the layer's plan says. Given the parameters of the attention module and which keys are seen. */
  readonly attend?: (params: Tensors, visibility: Visibility) => Attend
  /** Default: keeps nothing. */
  readonly save?: (name: string, value: Tensor) => Tensor
}

/** Traces a block on inputs `x`, `p.…`, {@link SharedInputs} and, in training with dropout, `dropout` (drops b l e). */
export function traceBlock(config: ModelConfig, layer: number, inputs: Tensors, options: BlockOptions = {}): Tensor {
  const family = familyOf(config)
  const params = scaledAdapters(config.adapter, computed(below('p.', inputs)))
  const inner = below(family.attentionPrefix, params)
  const visibility = { causal: config.causal, ...(inputs.keyMask && { keyMask: inputs.keyMask }) }
  const attend = options.attend?.(inner, visibility) ?? attendBy(config.attention[layer]!, inner, visibility)
  return family.block(config, params, inputs.x!, {
    attend,
    positional: below('pos.', inputs),
    save: options.save ?? ((_name, value) => value),
    drop: dropper(inputs.dropout),
  })
}

/** Parameters as they are computed with: those that are stored as float16 become float32. */
function computed(params: Tensors): Tensors {
  const entries = Object.entries(params)
  return Object.fromEntries(entries.map(([path, x]) => [path, x.dtype === 'float16' ? cast(x, 'float32') : x]))
}

/** Some parameters, named as inputs. */
export function paramInputs(params: Params, paths: readonly string[]): Record<string, NDArray> {
  return Object.fromEntries(paths.map((path) => [`p.${path}`, params[path]!]))
}

/** Multiplies each branch with the next of the factors. */
function dropper(factors: Tensor | undefined): (branch: Tensor) => Tensor {
  if (!factors) return (branch) => branch
  let next = 0
  return (branch) => {
    const layer = slice(factors, 0, next, next + 1)
    next += 1
    return mul(branch, reshape(layer, branch.shape))
  }
}
