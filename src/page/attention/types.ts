/** What the view of attention asks its worker, and what it is told. */

import type { Progress } from '../../base/progress.ts'
import type { DeviceChoice } from '../device.ts'
import type { ModelRef } from '../models.ts'

/** The jobs of the view of attention. */
export interface AttentionJobs {
  /** The weights of one head on a text, by softmax and by a map, with what is measured of all heads. */
  readonly look: { readonly input: Question; readonly news: Progress; readonly result: Look }
  /** Distils a map on text that comes with the page; what it was after some steps can be looked at from then on. */
  readonly learn: { readonly input: Lesson; readonly news: Progress; readonly result: Learned }
}

/** A model on a device. */
export interface Through extends DeviceChoice {
  readonly model: ModelRef
  /** A number for the choice of model: a reference to dropped files cannot be compared. */
  readonly choice: number
}

/** What is looked at. */
export interface Question extends Through {
  readonly text: string
  /** Default: the model's own where it was converted, else `hedgehog`. */
  readonly map?: string
  /** How far the map has learned, one of {@link Look.steps}; default: as far as is known. */
  readonly step?: number
  /** Default: the head whose softmax attention is the most spiky. */
  readonly layer?: number
  readonly head?: number
}

/** What is seen. */
export interface Look {
  readonly layers: number
  readonly heads: number
  /** The most tokens that are shown, and whether the text has more. */
  readonly most: number
  readonly cut: boolean
  readonly tokens: readonly string[]
  readonly map: string
  /** The attention that a converted model has by itself. */
  readonly converted?: string
  /** All maps that can be looked at. */
  readonly maps: readonly { readonly name: string; readonly summary: string }[]
  /** Whether the map has anything to learn. */
  readonly learns: boolean
  /** Steps of distillation after which the map is known, rising. */
  readonly steps: readonly number[]
  readonly step: number
  readonly layer: number
  readonly head: number
  /** Weights and q·k/√d of the head: [query][key that it sees]. */
  readonly softmax: Rows
  readonly linear: Rows
  readonly scores: Rows
  /** Means over the queries of the head. */
  readonly entropy: { readonly softmax: number; readonly linear: number }
  readonly monotonicity: number
  /** KL(softmax ‖ linear) in nats, mean over queries: [layer][head]. */
  readonly kl: Rows
}

export type Rows = readonly (readonly number[])[]

/** What is learned, and how long. */
export interface Lesson extends Through {
  readonly map: string
  readonly steps: number
}

/** What came of it. */
export interface Learned {
  readonly steps: number
  readonly loss: number
}
