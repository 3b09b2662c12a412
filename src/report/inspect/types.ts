/** What an inspection ends with: plain data, the same in inspect.json, on the page and in the terminal. */

import type { ReportModel, WeightCurve } from '../types.ts'

/** The report of one inspection; as JSON it is `inspect.json`. */
export interface InspectReport extends InspectFacts, InspectResult {}

/** What is known of the run itself. */
export interface InspectFacts {
  /** What was inspected, e.g. `tiny`. */
  readonly name: string
  /** Wall-clock seconds of the whole command. */
  readonly seconds: number
  readonly peakMemoryBytes: number
  readonly seed: number
  readonly versions: Readonly<Record<string, string>>
  /** The command line that makes this report again. */
  readonly command: string
}

/** What was measured. */
export interface InspectResult {
  readonly model: ReportModel
  readonly properties: readonly InspectProperty[]
  /** The texts in order; the first is shown in the charts of single heads. */
  readonly texts: readonly InspectText[]
  /** How learned maps were distilled; absent where none was. */
  readonly distillation?: { readonly steps: number; readonly length: number; readonly tokens: number }
  readonly lengths: readonly InspectLength[]
  /** The length of the tables by map and by head: the longest that the model has positions for. */
  readonly mainLength: number
  /** `softmax` first. */
  readonly maps: readonly InspectedMap[]
  /** Means over heads, of every map, text and length. */
  readonly rows: readonly InspectRow[]
  /** Every head at the main length, of every map and text. */
  readonly heads: readonly InspectHead[]
  readonly shown: readonly ShownHead[]
  readonly curves: readonly WeightCurve[]
}

/** A property of attention weights; values are means over queries. */
export interface InspectProperty {
  readonly name: string
  readonly title: string
  readonly summary: string
  readonly unit: string
  readonly best: 'low' | 'high' | 'softmax'
}

/** A text that was measured on. */
export interface InspectText {
  readonly name: string
  /** Tokens of it that were read at the main length. */
  readonly tokens: number
}

/** A context length; positions are stretched where the model has fewer. */
export interface InspectLength {
  readonly length: number
  readonly stretched: boolean
}

/** What was compared with softmax, or softmax itself. */
export interface InspectedMap {
  readonly name: string
  /** Features of a head of dimension d, absent where there is no feature map. */
  readonly features?: number
  readonly headDim: number
  /** Learned numbers that it adds to the model. */
  readonly parameters: number
  /** Steps of distillation before it was measured. */
  readonly distilledSteps: number
  readonly seconds: number
  /** E.g. what a name chose by itself. */
  readonly note?: string
}

/** Values by property. */
export type PropertyValues = Readonly<Record<string, number>>

/** Means over heads. */
export interface InspectRow {
  readonly map: string
  readonly text: string
  readonly length: number
  readonly values: PropertyValues
}

/** One head at the main length; layers and heads count from 0. */
export interface InspectHead {
  readonly map: string
  readonly text: string
  readonly layer: number
  readonly head: number
  readonly values: PropertyValues
}

/** Attention weights of one head over one text by every map: [query][key ≤ query]. */
export interface ShownHead {
  readonly layer: number
  readonly head: number
  readonly tokens: readonly string[]
  readonly maps: readonly { readonly name: string; readonly weights: readonly (readonly number[])[] }[]
}
