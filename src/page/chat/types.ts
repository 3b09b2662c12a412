/** What the view of texts and conversations asks its worker, and what it is told. */

import type { Progress } from '../../base/progress.ts'
import type { DeviceChoice } from '../device.ts'
import type { ModelRef } from '../models.ts'

/** The jobs of the view. */
export interface ChatJobs {
  /** Opens a model; what was written with another one is let go. */
  readonly meet: { readonly input: Speaking; readonly news: ChatNews; readonly result: Met }
  /** Writes on from a point. */
  readonly write: { readonly input: Wish; readonly news: ChatNews; readonly result: Said }
}

/** A model on a device. */
export interface Speaking extends DeviceChoice {
  readonly model: ModelRef
  /** A number for the choice of model: a reference to dropped files cannot be compared. */
  readonly choice: number
}

/** What one needs to know of a model to write with it. */
export interface Met {
  /** E.g. `hedgehog-exp`. */
  readonly attention: string
  /** Whether it has a chat template, so that one talks with it; else it goes on with a text. */
  readonly talks: boolean
  /** The most positions, absent where there is no limit. */
  readonly limit?: number
  readonly parameters: number
  /** Whether what it keeps grows with the text, as that of softmax attention does. */
  readonly grows: boolean
  readonly memory: MemorySizes
}

/** Bytes that are kept of what was read. */
export interface MemorySizes {
  /** By the model, after so many tokens. */
  readonly tokens: number
  readonly stateBytes: number
  /** By a cache of keys and values of the same model with softmax attention, for one token. */
  readonly cacheBytesPerToken: number
}

/** What shall be written. */
export interface Wish extends Speaking {
  /** The point to go on from; 0 is the beginning. */
  readonly from: number
  /** What is said, or what the text goes on with; may be empty where there is text before. */
  readonly text: string
  readonly temperature: number
  readonly topP: number
  readonly seed: number
  readonly maxTokens: number
}

/** What is told while a model is opened and while it writes. */
export type ChatNews =
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'text'; readonly text: string; readonly speed: Speed; readonly memory: MemorySizes }

/** How fast a text is written so far. */
export interface Speed {
  /** Tokens read before the first was written, and how long that took. */
  readonly read: number
  readonly readSeconds: number
  /** Tokens written, and the seconds between the first and the last. */
  readonly written: number
  readonly seconds: number
}

/** How a text ended; `point` is where it can be gone on from. */
export interface Said {
  readonly point: number
  readonly ending: 'stop' | 'length' | 'left'
}
