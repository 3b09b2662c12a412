/** An attention plan: data in a model's config that says what a layer's attention computes. */

import type { Tensors } from '../graph/trace.ts'
import type { ParamSpecs } from '../nn/params.ts'
import type { Attention } from './attention.ts'
import { type MapName, mapEntry, mapFor, mapNamed } from './featureMaps.ts'
import type { Attend, HeadSizes } from './heads.ts'
import { hybridKind } from './kinds/hybrid.ts'
import type { HybridPart } from './kinds/hybridScores.ts'
import { linearKind } from './kinds/linear.ts'
import { noneKind } from './kinds/none.ts'
import { softmaxKind } from './kinds/softmax.ts'
import { topKKind } from './kinds/topK.ts'
import { windowKind } from './kinds/window.ts'
import type { Visibility } from './softmax.ts'

/** What one layer's attention computes. */
export type AttentionPlan =
  | { readonly kind: 'softmax' }
  | { readonly kind: 'linear'; readonly map: MapName }
  | {
      readonly kind: 'hybrid'
      readonly map: MapName
      readonly window: number
      readonly sinks?: number
      readonly part?: HybridPart
    }
  | { readonly kind: 'window'; readonly window: number; readonly sinks: number }
  | { readonly kind: 'top-k'; readonly k: number }
  | { readonly kind: 'none' }

type PlanOf<K extends AttentionPlan['kind']> = Extract<AttentionPlan, { readonly kind: K }>

/** A kind of attention: what it computes with some settings, and how its settings are written and read. */
interface Kind<P extends AttentionPlan> {
  readonly summary: string
  /** How a name of it is written, e.g. `window:W:SINKS`. */
  readonly form: string
  build(plan: P): Attention
  /** What stands after the kind in a name. */
  parts(plan: P): readonly (string | number)[]
  /** @throws TypeError or RangeError for parts that are missing, too many or wrong. */
  read(parts: readonly string[]): P
}

type Kinds = { readonly [K in AttentionPlan['kind']]: Kind<PlanOf<K>> }

/** The map of a hybrid where none is named: its features are bounded, so that neither part drowns the other. */
const hybridMap = 'hedgehog-softmax'

/** The table of kinds: what a name that is no feature map can mean. */
export const attentionKinds: Kinds = {
  softmax: {
    summary: 'softmax attention, a cache of all keys and values',
    form: 'softmax',
    build: () => softmaxKind,
    parts: () => [],
    read: () => ({ kind: 'softmax' }),
  },
  linear: {
    summary: 'linear attention by a feature map, a state of constant size',
    form: 'MAP',
    build: ({ map }) => linearKind(map),
    parts: ({ map }) => [map],
    read: ([map = '']) => ({ kind: 'linear', map: mapNamed(map) }),
  },
  hybrid: {
    summary: 'softmax over the last W positions and the first SINKS (0), linear attention between them',
    form: 'hybrid:W[:SINKS][/MAP]',
    build: hybridKind,
    parts: ({ window, sinks, map, part }) => [
      `${window}${sinks ? `:${sinks}` : ''}/${map}`,
      ...(part ? [`${part}-only`] : []),
    ],
    read([settings = '', only]) {
      const [near = '', ...map] = settings.split('/')
      const [window = '', sinks = '0', ...more] = near.split(':')
      if (more.length > 0) throw new RangeError(`got ${near}`)
      const part = only?.replace(/-only$/, '')
      if (part !== undefined && part !== 'window' && part !== 'linear') {
        throw new RangeError(`got ${only}, want window-only or linear-only`)
      }
      return {
        kind: 'hybrid',
        map: mapNamed(map.join('/') || hybridMap),
        window: count(window),
        ...(sinks !== '0' && { sinks: count(sinks) }),
        ...(part && { part }),
      }
    },
  },
  window: {
    summary: 'softmax over the last W positions and the first SINKS (0)',
    form: 'window:W[:SINKS]',
    build: windowKind,
    parts: ({ window, sinks }) => [window, sinks],
    read: ([window = '', sinks = '0']) => ({ kind: 'window', window: count(window), sinks: count(sinks, 0) }),
  },
  'top-k': {
    summary: 'softmax over the K nearest keys of each query, found exactly',
    form: 'top-k:K',
    build: ({ k }) => topKKind(k),
    parts: ({ k }) => [k],
    read: ([k = '']) => ({ kind: 'top-k', k: count(k) }),
  },
  none: {
    summary: 'no attention: a control',
    form: 'none',
    build: () => noneKind,
    parts: () => [],
    read: () => ({ kind: 'none' }),
  },
}

/** The attention that a plan describes. */
export function attentionOf(plan: AttentionPlan): Attention {
  return (attentionKinds[plan.kind] as Kind<AttentionPlan>).build(plan)
}

/** The parameters that a plan adds to a layer's attention module. */
export function planParams(plan: AttentionPlan, sizes: HeadSizes): ParamSpecs {
  return attentionOf(plan).params(sizes)
}

/** The attention of a layer by its plan, with its parameters among `params`. */
export function attendBy(plan: AttentionPlan, params: Tensors, visibility: Visibility): Attend {
  const attention = attentionOf(plan)
  return (heads) => attention.attend(params, heads, visibility)
}

/** A plan as a person writes it: a feature map's name, or a kind's with its settings. {@link planNamed} reads it. */
export function planName(plan: AttentionPlan): string {
  const parts = (attentionKinds[plan.kind] as Kind<AttentionPlan>).parts(plan)
  return (plan.kind === 'linear' ? parts : [plan.kind, ...parts]).join(':')
}

/** The plan of a name: `hedgehog`, `hybrid:64:4/hedgehog-softmax`, `window:64:4`. @throws RangeError saying what is known. */
export function planNamed(name: string): AttentionPlan {
  const [kind = '', ...parts] = name.split(':')
  if (kind === 'linear' || !Object.hasOwn(attentionKinds, kind)) {
    return { kind: 'linear', map: mapNamed(name, 'attention') }
  }
  const { read, form } = attentionKinds[kind as AttentionPlan['kind']]
  try {
    // A map's own number may follow a colon inside of a hybrid.
    return read(kind === 'hybrid' ? hybridParts(name.slice(kind.length + 1)) : parts)
  } catch (error) {
    throw new RangeError(
      `attention ${name}: ${(error as Error).message.replace(/^featureMap: /, '')}; it is written ${form}`,
      { cause: error },
    )
  }
}

/** Whether a conversion distils this attention before the model is finetuned. */
export function isDistilled(plan: AttentionPlan): boolean {
  return 'map' in plan && mapEntry(plan.map).distilled
}

/** A plan for a model with so many positions: maps that depend on positions get their number. */
export function planFor(plan: AttentionPlan, positions: number): AttentionPlan {
  return 'map' in plan ? { ...plan, map: mapFor(plan.map, positions) } : plan
}

/**
 * A plan from JSON.
 * @throws TypeError or RangeError saying what is wrong at `where`.
 */
export function readPlan(where: string, json: unknown): AttentionPlan {
  const { kind, ...rest } = (json ?? {}) as Record<string, unknown>
  if (typeof kind !== 'string' || !Object.hasOwn(attentionKinds, kind)) {
    const known = Object.keys(attentionKinds).join(' or ')
    throw new TypeError(`${where}: got attention kind ${JSON.stringify(kind)}, want ${known}`)
  }
  const record = attentionKinds[kind as AttentionPlan['kind']] as Kind<AttentionPlan>
  try {
    const parts = record.parts({ kind, ...rest } as unknown as AttentionPlan).map(String)
    return record.read(kind === 'hybrid' ? hybridParts(parts.join(':')) : parts)
  } catch (error) {
    const message = (error as Error).message.replace(/^featureMap: /, '')
    throw new RangeError(`${where}: ${message}`, { cause: error })
  }
}

/** The part that is shown alone stands after the last colon; other colons belong to the map. */
function hybridParts(text: string): string[] {
  const only = /:([a-z]+-only)$/.exec(text)
  return only ? [text.slice(0, only.index), only[1]!] : [text]
}

function count(text: string, least = 1): number {
  const value = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN
  if (value >= least) return value
  throw new RangeError(`got ${text === '' ? 'nothing' : text}, want a whole number from ${least}`)
}
