/** A language model as one graph of any batch and any number of new positions, from a kept state to the next. */

import type { FloatArray } from '../base/array.ts'
import { traceBlock } from '../execute/blocks.ts'
import { type DynamicInput, traceDynamic } from '../graph/dynamic.ts'
import { add, cumsum, filled, gather, reshape, slice } from '../graph/ops.ts'
import { cutName } from '../graph/parts.ts'
import type { Graph, Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { ModelFiles } from '../models/files.ts'
import type { ModelConfig } from '../models/model.ts'
import { tokenLogits } from '../nn/loss.ts'
import { below, prefixed } from '../nn/params.ts'
import { type AttentionForm, exportedAttention } from './attention.ts'
import type { ExportedAttention } from './exported.ts'

/** Options of {@link modelGraph}. */
export interface GraphOptions {
  readonly form: AttentionForm
  /** Positions that the graph has tables for, where the family needs some. */
  readonly positions: number
  /**
   * Where positions come from: kept as `past.position` (b 1) and counted on, or given for every token as `positions`
   * (b l) together with a `mask` (b s) of padding.
   */
  readonly given: 'kept' | 'each'
}

/** Weights of a graph by the names of its inputs, each read when it is asked for. */
export type GraphWeights = Readonly<Record<string, { readonly shape: readonly number[]; read(): Promise<FloatArray> }>>

/** A model as a graph over its parameters, which are inputs `p.…`. */
export interface ModelGraph {
  /** `ids`, `past.…`, `p.…` -> `hidden` (b l e), `logits` (b l v), `next.…` */
  readonly graph: Graph
  /** What the inputs `p.…` and `pos.…` hold. */
  readonly weights: GraphWeights
  /** The residual stream before every block and after the last, as values of the graph. */
  readonly cuts: readonly number[]
  /** What each layer keeps, as in {@link ExportedAttention.kept}. */
  readonly kept: readonly ExportedAttention['kept'][]
}

/** @throws RangeError or TypeError naming what cannot be exported. */
export function modelGraph({ config, paths, shape, read }: ModelFiles, options: GraphOptions): ModelGraph {
  checkExportable(config)
  const attentions = config.attention.map((plan) => exportedAttention(plan, config, options.form))
  const tables = familyOf(config).positional?.(config, 0, options.positions) ?? {}
  const weights: GraphWeights = Object.fromEntries([
    ...paths.map((path) => [`p.${path}`, { shape: shape(path), read: () => read(path) }] as const),
    ...Object.entries(tables).map(
      ([name, table]) => [`pos.${name}`, { shape: table.shape, read: async () => table }] as const,
    ),
  ])
  const isEach = options.given === 'each'
  const inputs: Record<string, DynamicInput> = {
    ids: { dtype: 'int32', shape: ['batch_size', 'sequence_length'] },
    ...(isEach && {
      positions: { dtype: 'int32', shape: ['batch_size', 'sequence_length'] },
      mask: { dtype: 'float32', shape: ['batch_size', 'past_length + sequence_length'] },
      // Its size says how many positions were read, whatever the layers keep of them.
      'past.length': { dtype: 'float32', shape: ['batch_size', 1, 'past_length', 0] },
    }),
    ...(!isEach && { 'past.position': { dtype: 'int32', shape: ['batch_size', 1] } }),
    ...Object.fromEntries(
      attentions.flatMap(({ kept }, layer) =>
        Object.entries(kept).map(([name, shape]) => [`past.${layer}.${name}`, { dtype: 'float32', shape } as const]),
      ),
    ),
    ...Object.fromEntries(
      Object.entries(weights).map(([name, { shape }]) => [name, { dtype: 'float32', shape } as const]),
    ),
  }
  const { outputs, ...rest } = traceDynamic((given) => traced(config, attentions, given), inputs)
  const cuts = Array.from({ length: config.layers + 1 }, (_, i) => outputs[cutName(i)]!)
  const own = Object.fromEntries(Object.entries(outputs).filter(([, id]) => !cuts.includes(id)))
  return { graph: { ...rest, outputs: own }, weights, cuts, kept: attentions.map(({ kept }) => kept) }
}

function checkExportable({ family, task, causal, adapter }: ModelConfig): void {
  if (task !== 'language' || !causal) {
    throw new TypeError(`export: got a ${family} model for ${task}, want one that predicts the next token`)
  }
  if (adapter)
    throw new TypeError('export: the model has an adapter beside its weights; merge it first (hedgehog merge)')
}

function traced(config: ModelConfig, attentions: readonly ExportedAttention[], given: Tensors): Tensors {
  const family = familyOf(config)
  const params = below('p.', given)
  const ids = given.ids!
  const [b, l] = ids.shape as [number, number]
  const positions = given.positions ?? counted(given['past.position']!, l)
  const positional = Object.fromEntries(
    Object.entries(below('pos.', given)).map(([name, table]) => {
      const rows = gather(table, positions)
      return [`pos.${name}`, reshape(rows, [b, 1, ...rows.shape.slice(1)])] as const
    }),
  )
  const rows = family.lookups.map(({ table, by, offset = 0 }) => {
    if (by === 'types') throw new TypeError(`export: ${config.family} has token types, want a family without them`)
    const index = by === 'ids' ? ids : offset ? add(positions, offset) : positions
    return [table, gather(params[table]!, index)] as const
  })
  let x = family.embed(config, params, Object.fromEntries(rows))
  const next: Record<string, Tensor> = {}
  const cuts = [x]
  for (const [layer, attention] of attentions.entries()) {
    const own = prefixed('p.', below(family.blockPrefix(layer), params))
    x = traceBlock(
      config,
      layer,
      { x, ...own, ...positional },
      {
        attend: (moduleParams) => (heads) => {
          const done = attention.attend({
            past: below(`past.${layer}.`, given),
            params: moduleParams,
            heads,
            positions,
            ...(given.mask && { mask: given.mask }),
          })
          Object.assign(next, prefixed(`next.${layer}.`, done.next))
          return done.y
        },
      },
    )
    cuts.push(x)
  }
  const hidden = family.head(config, params, x)
  const { weight, bias } = family.unembedding(config)
  const logits = tokenLogits({ h: hidden, unembedding: params[weight]!, ...(bias && { bias: params[bias]! }) })
  const streams = Object.fromEntries(cuts.map((stream, i) => [cutName(i), stream]))
  return { hidden, logits, ...next, ...lengthOf(given, positions), ...streams }
}

/** What is kept of the number of positions. */
function lengthOf(given: Tensors, positions: Tensor): Tensors {
  const [b, l] = positions.shape as [number, number]
  const past = given['past.length']
  if (!past) return { 'next.position': add(slice(positions, 1, l - 1, l), 1) }
  return { 'next.length': filled(past, [b, 1, past.shape[2]! + l, 0], 0) }
}

/** The l positions from a first one on: (b 1) -> (b l), int32. */
function counted(first: Tensor, l: number): Tensor {
  const ones = filled(first, [1, l], 1)
  return add(first, cumsum(ones, 1, { exclusive: true }))
}
