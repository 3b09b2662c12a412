/** What a model is: a config, parameters by path, and the pure functions of its family. */

import type { Attend } from '../attention/heads.ts'
import type { AttentionPlan } from '../attention/plan.ts'
import type { FloatArray, NDArray, Params } from '../base/array.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { ParamSpecs } from '../nn/params.ts'
import type { AdapterConfig } from './adapter.ts'

/** Plain JSON objects, such as a config.json. */
export type Json = Readonly<Record<string, unknown>>

/**
 * What the states of the last block are for: `language` predicts the next token, `masked-language` hidden ones,
 * `classification` a class of the sequence, `regression` one number; `features` are the states themselves, without a loss.
 */
export type Task = 'language' | 'masked-language' | 'classification' | 'regression' | 'features'

/** What a model reads: b sequences side by side. */
export interface ModelInputs {
  /** Token ids (b l), int32; for a family that reads images, patches (b n p), float32. */
  readonly ids: NDArray
  /** (b l), 1 for real tokens and 0 for padding. Default: all are real. */
  readonly keyMask?: FloatArray
  /** Token types (b l), int32, where the family has them. Default 0. */
  readonly types?: NDArray
}

/** What the code asks of every family's config; `json` keeps the rest for saving. */
export interface ModelConfig {
  /** A key of the table of families, e.g. `gpt2`. */
  readonly family: string
  readonly task: Task
  /** Classes of a classification, 1 for a regression, else 0. */
  readonly labels: number
  readonly layers: number
  readonly heads: number
  readonly headDim: number
  /** Width e of the residual stream. */
  readonly width: number
  /** Width of the feed-forward layer. */
  readonly inner: number
  /** 0 for a family that reads images. */
  readonly vocab: number
  /** The most positions the model has embeddings for. */
  readonly maxLength: number
  /** Epsilon of the layer norms. */
  readonly epsilon: number
  /** Whether a position sees only earlier ones. */
  readonly causal: boolean
  /** One plan per layer. */
  readonly attention: readonly AttentionPlan[]
  /** The low-rank adapter beside the weights, where there is one. */
  readonly adapter?: AdapterConfig
  readonly json: Json
}

/** A model in memory. */
export interface Model {
  readonly config: ModelConfig
  readonly params: Params
}

/** A table that is looked up on the host before the graph: by token id, by position or by token type. */
export interface Lookup {
  readonly table: string
  readonly by: 'ids' | 'positions' | 'types'
  /** The row of position 0. Default 0. */
  readonly offset?: number
}

/** What a block is given besides its parameters and input. */
export interface BlockContext {
  readonly attend: Attend
  /** What {@link Family.positional} computed for these positions. */
  readonly positional: Tensors
  /** Names a value that the backward pass may be given instead of computing it again. */
  readonly save: (name: string, value: Tensor) => Tensor
  /** Dropout on a residual branch; the identity outside of training. */
  readonly drop: (branch: Tensor) => Tensor
}

/** The output embedding: the paths of its matrix (v e) and, where it has one, of its bias (v). */
export interface Unembedding {
  readonly weight: string
  readonly bias?: string
}

/** One architecture. Parameter paths inside a block are relative to its prefix. */
export interface Family {
  /** The tasks it has an end for, each with the architecture that the reference library calls it by. */
  readonly architectures: Readonly<Partial<Record<Task, string>>>
  /** @throws Error naming the key of config.json that is missing, wrong or not supported. */
  readConfig(json: Json): ModelConfig
  /** A config.json for saving: the one that was read, with what changed. */
  writeConfig(config: ModelConfig): Json
  /** A config from sizes, for training from scratch. */
  configOf(sizes: ModelSizes): ModelConfig
  /** The prefix that checkpoints of the reference library may have before paths. */
  readonly checkpointPrefix: string
  /** How the paths begin that have no such prefix. */
  readonly unprefixed: readonly string[]
  /** Prefixes of the parameters that belong to a task and that a model without it lacks. */
  readonly ends: readonly string[]
  /** The path of a tensor that older checkpoints call otherwise. */
  renamed?(path: string): string
  /** Whether a tensor of a checkpoint that the config does not ask for is left out: a stored mask, another task's end. */
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
  /** Parameters that {@link Family.embed} reads in the graph, besides the rows that were looked up. */
  readonly embedPaths: readonly string[]
  /** How many positions `embed` puts before those that are read, e.g. 1 for a class token. Default 0. */
  readonly prepended?: number
  /** Looked-up rows (b l e) by table, or `patches` (b n p), and {@link Family.embedPaths} -> the residual stream (b l e). */
  embed(config: ModelConfig, params: Tensors, rows: Tensors): Tensor
  /** Arrays for positions start … start + length − 1 that every block is given, e.g. rotary tables (l d/2). */
  positional?(config: ModelConfig, start: number, length: number): Readonly<Record<string, FloatArray>>
  block(config: ModelConfig, params: Tensors, x: Tensor, context: BlockContext): Tensor
  /** Parameters that {@link Family.head} and {@link Family.classify} read. */
  headPaths(config: ModelConfig): readonly string[]
  /** The residual stream after the last block -> the final states; for language, what the output embedding multiplies. */
  head(config: ModelConfig, params: Tensors, x: Tensor): Tensor
  /** Where the output embedding is, for language tasks. */
  unembedding(config: ModelConfig): Unembedding
  /** Final states (b l e) and the key mask (b l) -> class logits (b c). */
  classify(config: ModelConfig, params: Tensors, h: Tensor, keyMask?: Tensor): Tensor
}

/** Sizes for a model from scratch. */
export interface ModelSizes {
  readonly layers: number
  readonly heads: number
  readonly width: number
  readonly vocab: number
  readonly maxLength: number
  /** Heads of keys and values, each for as many query heads, where the family groups them. Default: `heads`. */
  readonly keyHeads?: number
  /** Width of the feed-forward layer. Default: what is usual in the family, about 4 · width. */
  readonly inner?: number
  readonly attention?: AttentionPlan
  /** Square images and their patches, in pixels; a family that reads images takes no notice of vocabulary and length. */
  readonly image?: { readonly side: number; readonly patch: number; readonly channels?: number }
  /** Default: what the family is pretrained for. */
  readonly task?: Task
  /** Classes of a classification. Default 2. */
  readonly labels?: number
}
