/** What a model is: a config, parameters by path, and the pure functions of its family. */

import type { Attend } from '../attention/heads.ts'
import type { AttentionPlan } from '../attention/plan.ts'
import type { Params } from '../base/array.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { ParamSpecs } from '../nn/params.ts'

/** Plain JSON objects, such as a config.json. */
export type Json = Readonly<Record<string, unknown>>

/** What the code asks of every family's config; `json` keeps the rest for saving. */
export interface ModelConfig {
  /** A key of the table of families, e.g. `gpt2`. */
  readonly family: string
  readonly layers: number
  readonly heads: number
  readonly headDim: number
  /** Width e of the residual stream. */
  readonly width: number
  /** Width of the feed-forward layer. */
  readonly inner: number
  readonly vocab: number
  /** The most positions the model has embeddings for. */
  readonly maxLength: number
  /** Epsilon of the layer norms. */
  readonly epsilon: number
  /** Whether a position sees only earlier ones. */
  readonly causal: boolean
  /** One plan per layer. */
  readonly attention: readonly AttentionPlan[]
  readonly json: Json
}

/** A model in memory. */
export interface Model {
  readonly config: ModelConfig
  readonly params: Params
}

/** A table that is looked up on the host before the graph: by token id or by position. */
export interface Lookup {
  readonly table: string
  readonly by: 'ids' | 'positions'
}

/** What a block is given besides its parameters and input. */
export interface BlockContext {
  readonly attend: Attend
  /** Names a value that the backward pass may be given instead of computing it again. */
  readonly save: (name: string, value: Tensor) => Tensor
  /** Dropout on a residual branch; the identity outside of training. */
  readonly drop: (branch: Tensor) => Tensor
}

/** One architecture. Parameter paths inside a block are relative to its prefix. */
export interface Family {
  /** @throws Error naming the key of config.json that is missing, wrong or not supported. */
  readConfig(json: Json): ModelConfig
  /** A config.json for saving: the one that was read, with what changed. */
  writeConfig(config: ModelConfig): Json
  /** A config from sizes, for training from scratch. */
  configOf(sizes: ModelSizes): ModelConfig
  /** The prefix that checkpoints of the reference library may have before every path. */
  readonly checkpointPrefix: string
  /** Whether a tensor of a checkpoint is no parameter: a stored mask, or a second name of a tied one. */
  ignores(path: string): boolean
  /** Parameters outside of the blocks. */
  outerParams(config: ModelConfig): ParamSpecs
  /** Parameters of one block, its attention plan's among them. */
  blockParams(config: ModelConfig, layer: number): ParamSpecs
  blockPrefix(layer: number): string
  /** Where a block's attention parameters are, relative to the block, e.g. `attn.`. */
  readonly attentionPrefix: string
  /** Values named with `save` that a training step keeps by default. */
  readonly saved: readonly string[]
  readonly lookups: readonly Lookup[]
  /** How many residual branches of a block call `drop`. */
  readonly drops: number
  /** Looked-up rows (b l e) by table -> the residual stream (b l e). */
  embed(rows: Tensors): Tensor
  block(config: ModelConfig, params: Tensors, x: Tensor, context: BlockContext): Tensor
  /** Parameters that {@link Family.head} reads. */
  readonly headPaths: readonly string[]
  /** The residual stream after the last block -> what the output embedding is multiplied with. */
  head(config: ModelConfig, params: Tensors, x: Tensor): Tensor
  /** The path of the output embedding (v e). */
  readonly unembedding: string
}

/** Sizes for a model from scratch. */
export interface ModelSizes {
  readonly layers: number
  readonly heads: number
  readonly width: number
  readonly vocab: number
  readonly maxLength: number
  readonly attention?: AttentionPlan
}
