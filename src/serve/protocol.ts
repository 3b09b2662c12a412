/** What the server's thread and the model's thread say to each other: plain data. */

import type { Message } from '../io/chatTemplate.ts'

/** What is to be written on from: text, token ids, or a conversation for the model's chat template. */
export type Prompt =
  | { readonly text: string }
  | { readonly ids: readonly number[] }
  | { readonly messages: readonly Message[] }

/** A text to write. */
export interface Job {
  readonly prompt: Prompt
  /** The most tokens to write; undefined for all that there is room for, up to the server's own most. */
  readonly maxTokens?: number
  readonly sampling: JobSampling
  /** Decides all draws, together with `choice`. */
  readonly seed: number
  /** Which of several texts of one request this is. */
  readonly choice: number
  /** Texts that end the answer, which are not given out. */
  readonly stop: readonly string[]
  /** Whether the tokens that end a text are written like others. */
  readonly ignoreEnd: boolean
  /** How many of the likeliest tokens are given beside each one; undefined for no log-probabilities at all. */
  readonly alternatives?: number
  /** Gives the prompt's own tokens first, scored where `alternatives` is there. */
  readonly echo: boolean
}

/** The part of the sampling options that comes with a request. */
export interface JobSampling {
  readonly temperature: number
  readonly topP: number
  readonly topK?: number
  readonly minP?: number
  readonly repetitionPenalty?: number
  readonly presencePenalty?: number
  readonly frequencyPenalty?: number
  readonly bias?: ReadonlyMap<number, number>
}

/** A token's text, and ln p of it; null for the first of a prompt. */
export interface ScoredText {
  readonly text: string
  readonly logProbability: number | null
}

/** A token of an answer. */
export interface TokenText extends ScoredText {
  /** Characters of the answer before it, an echoed prompt among them. */
  readonly start: number
  readonly alternatives: readonly ScoredText[]
}

/** What comes of a job: once `begun`, then any number of `piece`, once `ended`; or `failed` at any time. */
export type JobEvent =
  | { readonly kind: 'begun'; readonly promptTokens: number }
  | { readonly kind: 'piece'; readonly text: string; readonly tokens: readonly TokenText[] }
  | { readonly kind: 'ended'; readonly ending: 'stop' | 'length'; readonly tokens: number; readonly known: number }
  | { readonly kind: 'failed'; readonly fault: Fault }

/** Why a job failed: the client's mistake, with the parameter at fault, or the engine's failure. */
export interface Fault {
  readonly by: 'client' | 'engine'
  readonly message: string
  readonly param?: string
  readonly code?: string
}

/** What the model's thread is doing. */
export interface EngineCounts {
  readonly waiting: number
  readonly reading: number
  readonly writing: number
  readonly readTokens: number
  readonly knownTokens: number
  readonly writtenTokens: number
  /** Kept states of prompts: how many, and their bytes. */
  readonly prefixes: number
  readonly prefixBytes: number
}

/** What the model's thread is given to begin with. */
export interface EngineSettings {
  /** The folder of the model. */
  readonly model: string
  readonly device: 'cpu' | 'webgpu'
  /** Threads inside one operator; default as many as there are cores. */
  readonly threads?: number
  /** Texts that are read and written at once. */
  readonly mostTexts: number
  /** The most tokens of one prompt. */
  readonly mostPrompt: number
  /** The most tokens that are written of one text. */
  readonly mostTokens: number
  /** Bytes of kept states of prompts. */
  readonly prefixBytes: number
}

/** What there is to know of the model once it is open. */
export interface EngineInfo {
  /** Tokens of prompt and answer together; null without a limit. */
  readonly limit: number | null
  readonly vocab: number
}

/** From the server's thread to the model's. */
export type ToEngine =
  | { readonly kind: 'start'; readonly id: number; readonly job: Job }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'close' }

/** From the model's thread to the server's; events of one turn come together. */
export type FromEngine =
  | { readonly kind: 'ready'; readonly info: EngineInfo }
  | { readonly kind: 'refused'; readonly message: string }
  | {
      readonly kind: 'events'
      readonly events: readonly (readonly [id: number, event: JobEvent])[]
      readonly counts: EngineCounts
    }
