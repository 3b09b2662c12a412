/** Rotary position embedding: the frequencies that a config.json asks for, scaled or not, and tables of cosines and sines. */

import { type FloatArray, floats } from '../base/array.ts'
import { prefixed } from '../nn/params.ts'
import { configReader } from './config.ts'
import type { Json } from './model.ts'

/** How positions turn the queries and keys of a head (arXiv 2104.09864). */
export interface Rope {
  readonly type: RopeType
  /** How many components of a head are turned: the first `dim`, an even number. */
  readonly dim: number
  /** Cosines and sines are multiplied by it; 1 but for `yarn`. */
  readonly attentionFactor: number
  /** Radians per position, dim/2 of them, in a text of `length` positions; only those of `dynamic` depend on the length. */
  frequencies(length: number): Float64Array
}

/** A name in the table of scalings, as config.json calls it. */
export type RopeType = keyof typeof scalings

/** What frequencies are computed from before any scaling. */
interface Base {
  readonly theta: number
  readonly dim: number
  /** The longest text the model is made for. */
  readonly maxLength: number
  /** The longest text it saw before it was made for longer ones. */
  readonly originalLength: number
}

/** A reader of one scaling's own settings, by their plain names. */
interface Settings {
  positive(name: string, fallback?: number): number
  /** A number other than 0 is there. */
  has(name: string): boolean
  flag(name: string, fallback: boolean): boolean
  /** @throws Error always, naming the key. */
  refuse(name: string, want: string): never
}

type Scaling = (settings: Settings, base: Base) => Pick<Rope, 'attentionFactor' | 'frequencies'>

const scalings = {
  default: (_settings, base) => fixed(unscaled(base)),

  /** Positions are divided by the factor (arXiv 2306.15595). */
  linear: (settings, base) => {
    const factor = settings.positive('factor')
    return fixed(unscaled(base).map((frequency) => frequency / factor))
  },

  /** θ grows with texts longer than the model was made for ("NTK-aware"; arXiv 2309.00071, section 3.1 and appendix A.1). */
  dynamic: (settings, base) => {
    const factor = settings.positive('factor')
    const { theta, dim, maxLength } = base
    return {
      attentionFactor: 1,
      frequencies(length) {
        const stretch = (factor * Math.max(length, maxLength)) / maxLength - (factor - 1)
        return unscaled({ dim, theta: theta * stretch ** (dim / Math.max(dim - 2, 1)) })
      },
    }
  },

  /** Long waves are stretched, short ones kept, those between interpolated (Llama 3.1's model card and reference code). */
  llama3: (settings, base) => {
    const factor = settings.positive('factor')
    const low = settings.positive('low_freq_factor')
    const high = settings.positive('high_freq_factor')
    if (high <= low) settings.refuse('high_freq_factor', `more than low_freq_factor = ${low}`)
    return fixed(
      unscaled(base).map((frequency) => {
        const turns = (base.originalLength * frequency) / (2 * Math.PI)
        const kept = clamp((turns - low) / (high - low))
        return kept * frequency + (1 - kept) * (frequency / factor)
      }),
    )
  },

  /** By the number of turns within the original length, frequencies are kept or divided (arXiv 2309.00071, section 3.2). */
  yarn: (settings, base) => {
    const factor = settings.positive('factor', base.maxLength / base.originalLength)
    const whole = settings.flag('truncate', true)
    const last = base.dim - 1
    const first = Math.max(componentTurning(settings.positive('beta_fast', 32), base, whole && Math.floor), 0)
    const end = Math.min(componentTurning(settings.positive('beta_slow', 1), base, whole && Math.ceil), last)
    const width = first === end ? 0.001 : end - first
    return {
      ...fixed(unscaled(base).map((frequency, i) => mix(frequency, frequency / factor, clamp((i - first) / width)))),
      attentionFactor: settings.positive('attention_factor', yarnAttention(settings, factor)),
    }
  },
} as const satisfies Record<string, Scaling>

/** Of all settings this one is believed rather where it stands beside the others. */
const original = 'original_max_position_embeddings'

/** Sizes of a model that its {@link Rope} depends on. */
export interface RopeSizes {
  readonly headDim: number
  /** `max_position_embeddings`. */
  readonly maxLength: number
}

/**
 * Reads rotary position embedding from a config.json: `rope_parameters`, or `rope_scaling` with `type` or `rope_type`,
 * or neither, with `rope_theta` and `partial_rotary_factor` inside of it or beside it.
 * @throws Error naming the key that is missing, wrong or not supported, or the head dimension when it is odd.
 */
export function readRope(family: string, json: Json, { headDim, maxLength }: RopeSizes): Rope {
  const where = json.rope_scaling ? 'rope_scaling' : 'rope_parameters'
  const own = objectAt(family, json, where)
  const flat: Json = { ...json, ...prefixed<unknown>(`${where}.`, own) }
  const read = configReader(family, flat)
  const inside = (name: string) => `${where}.${name}`
  const either = (name: string) => (own[name] === undefined ? name : inside(name))
  const type = typeOf(family, where, own)
  const base: Base = {
    theta: read.positive(either('rope_theta'), 10000),
    dim: turnedDim(family, headDim, read.positive(either('partial_rotary_factor'), 1)),
    maxLength,
    originalLength: read.size(json[original] === undefined ? inside(original) : original, maxLength),
  }
  const settings: Settings = {
    positive: (name, fallback) => read.positive(inside(name), fallback),
    has: (name) => typeof flat[inside(name)] === 'number' && flat[inside(name)] !== 0,
    flag(name, fallback) {
      read.only(inside(name), [true, false], fallback)
      return (flat[inside(name)] as boolean | undefined) ?? fallback
    },
    refuse(name, want) {
      throw new Error(
        `config.json: ${inside(name)}: got ${JSON.stringify(flat[inside(name)])}, want ${want} (${family})`,
      )
    },
  }
  return { type, dim: base.dim, ...scalings[type](settings, base) }
}

/**
 * Cosines and sines of positions `start` … `start + length − 1`: two tables (l d/2), computed in float64, where d is
 * the number of components that are turned.
 */
export function rotaryTables(
  rope: Rope,
  { start = 0, length }: { readonly start?: number; readonly length: number },
): { cosine: FloatArray; sine: FloatArray } {
  const frequencies = rope.frequencies(start + length)
  const half = frequencies.length
  const table = (wave: (angle: number) => number): FloatArray =>
    floats(
      [length, half],
      Float32Array.from({ length: length * half }, (_, at) => {
        const position = start + Math.floor(at / half)
        return wave(position * frequencies[at % half]!) * rope.attentionFactor
      }),
    )
  return { cosine: table(Math.cos), sine: table(Math.sin) }
}

/** θ^(−2i/d) for i = 0 … d/2 − 1. */
function unscaled({ theta, dim }: Pick<Base, 'theta' | 'dim'>): Float64Array {
  return Float64Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim))
}

function fixed(frequencies: Float64Array): Pick<Rope, 'attentionFactor' | 'frequencies'> {
  return { attentionFactor: 1, frequencies: () => frequencies }
}

/** The (fractional) component that turns so many times within the original length, rounded where asked. */
function componentTurning(
  turns: number,
  { theta, dim, originalLength }: Base,
  rounded: false | ((x: number) => number),
): number {
  const component = (dim * Math.log(originalLength / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  return rounded ? rounded(component) : component
}

/** The factor on cosines and sines that YaRN infers from its scale (arXiv 2309.00071, section 3.4). */
function yarnAttention(settings: Settings, factor: number): number {
  const sharpness = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1)
  if (!settings.has('mscale') || !settings.has('mscale_all_dim')) return sharpness(1)
  return sharpness(settings.positive('mscale')) / sharpness(settings.positive('mscale_all_dim'))
}

function objectAt(family: string, json: Json, key: string): Json {
  const found = json[key] ?? {}
  if (typeof found === 'object' && !Array.isArray(found)) return found as Json
  throw new Error(`config.json: ${key}: got ${JSON.stringify(found)}, want an object with rope_type (${family})`)
}

function typeOf(family: string, where: string, own: Json): RopeType {
  const names = Object.keys(scalings)
  const nested = Object.keys(own).find(
    (key) => typeof own[key] === 'object' && own[key] !== null && !Array.isArray(own[key]),
  )
  if (nested !== undefined) {
    throw new Error(
      `config.json: ${where}.${nested}: got settings per kind of layer, want one for all layers (${family})`,
    )
  }
  const type = own.rope_type ?? own.type ?? 'default'
  if (typeof type === 'string' && Object.hasOwn(scalings, type)) return type as RopeType
  throw new Error(
    `config.json: ${where}.rope_type: got ${JSON.stringify(type)}, want ${names.join(' or ')} (${family})`,
  )
}

function turnedDim(family: string, headDim: number, share: number): number {
  const dim = Math.floor(headDim * share)
  if (share <= 1 && dim >= 2 && dim % 2 === 0) return dim
  const of = share === 1 ? '' : ` of ${headDim} with partial_rotary_factor ${share}`
  throw new Error(
    `config.json: head dimension: got ${dim} turned components${of}, want an even number, as rotary embedding turns ` +
      `pairs (${family})`,
  )
}

function mix(a: number, b: number, share: number): number {
  return a * (1 - share) + b * share
}

function clamp(x: number): number {
  return Math.min(Math.max(x, 0), 1)
}
