/** One model to look through: a text's queries and keys, and what softmax and feature maps make of them. */

import { mapEntry } from '../../attention/featureMaps.ts'
import { isMapPath } from '../../attention/mapParams.ts'
import { attentionOf, planName, planNamed } from '../../attention/plan.ts'
import { softmaxScores } from '../../attention/softmax.ts'
import { ints, type NDArray, type Params } from '../../base/array.ts'
import { random } from '../../base/random.ts'
import { allMaps, convertedName } from '../../convert/inspect.ts'
import { linearize } from '../../convert/linearize.ts'
import { type LayerHeads, openHeads } from '../../evaluate/headStream.ts'
import { functionCache } from '../../execute/blocks.ts'
import type { Tokenizer } from '../../io/tokenizer.ts'
import { familyOf } from '../../models/families.ts'
import type { Model } from '../../models/model.ts'
import { below, prefixed } from '../../nn/params.ts'
import type { Device } from '../../runtime/device.ts'
import { type MapSteps, withParams } from '../worker/mapSteps.ts'
import { measured, spikiest } from './measures.ts'
import type { Look, Question } from './types.ts'

/** The most tokens that are shown: more cannot be read at the sides of a map. */
export const mostTokens = 40
/** Texts of a causal model are filled up to a multiple of this many tokens, so that a few graphs serve all of them. */
const piece = 8

const knownMaps = allMaps.map((name) => ({ name, summary: mapEntry(name).summary }))

/** Looks at one model. */
export interface Lens {
  readonly teacher: Model
  readonly tokenizer: Tokenizer
  /** @throws Error when the text is empty, or a map or a layer is none that there is. */
  look(question: Omit<Question, 'device' | 'model' | 'choice'>): Promise<Look>
  /** A model with a map where it begins. */
  student(map: string): Model
  /** From now on the map is known after so many steps. */
  note(map: string, step: number, maps: Params): void
  dispose(): Promise<void>
}

/** What a map was after some steps, by step. */
type Known = Map<number, () => Promise<Params>>

/**
 * @param model of softmax attention, or converted: then its own attention can be looked at too.
 * @param stored what the page has of the map `hedgehog` on this model
 */
export function openLens(device: Device, model: Model, tokenizer: Tokenizer, stored?: MapSteps): Lens {
  const own = model.config.attention
  const converted = own.some(({ kind }) => kind !== 'softmax') ? [...new Set(own.map(planName))].join(', ') : undefined
  const teacher = converted === undefined ? model : withoutMaps(model)
  const stream = openHeads(device, teacher)
  const functions = functionCache(device)
  const { causal, layers, heads, maxLength } = model.config
  const students = new Map<string, Model>()
  const known = new Map<string, Known>()
  let last: { readonly key: string; readonly layers: readonly LayerHeads[] } | undefined

  const student = (map: string): Model => {
    if (map === convertedName) return model
    const found = students.get(map) ?? linearize(teacher, map, random(0).split(map))
    students.set(map, found)
    return found
  }

  const stepsOf = (map: string): Known => {
    const found = known.get(map) ?? new Map()
    if (!known.has(map)) {
      found.set(0, async () => ({}))
      if (stored && map === fullName('hedgehog'))
        for (const step of stored.steps) found.set(step, () => stored.read(step))
      known.set(map, found)
    }
    return found
  }

  const headsOf = async (ids: readonly number[]): Promise<readonly LayerHeads[]> => {
    const size = causal ? Math.min(maxLength, Math.ceil(ids.length / piece) * piece) : ids.length
    const filled = Array.from({ length: size }, (_, i) => ids[i] ?? ids[0]!)
    const key = filled.join()
    if (last?.key === key) return last.layers
    const found: LayerHeads[] = []
    for await (const layer of stream.layers(ints([1, size], filled))) found.push(layer)
    last = { key, layers: found }
    return found
  }

  const weightsOf = (layer: number, { config, params }: Model, { q, k }: LayerHeads) => {
    const plan = config.attention[layer]!
    const run = functions.get(JSON.stringify(plan), () => ({ q, k, ...maps }) => ({
      softmax: attentionOf({ kind: 'softmax' }).weights({}, { q: q!, k: k! }, { causal }),
      linear: attentionOf(plan).weights(below('p.', maps), { q: q!, k: k! }, { causal }),
      scores: softmaxScores(q!, k!, { causal }),
    }))
    const family = familyOf(config)
    const inside = below(`${family.blockPrefix(layer)}${family.attentionPrefix}`, params)
    const maps = Object.fromEntries(Object.entries(inside).filter(([path]) => isMapPath(path)))
    return run({ q, k, ...prefixed('p.', maps) }) as Promise<Record<'softmax' | 'linear' | 'scores', NDArray>>
  }

  return {
    teacher,
    tokenizer,
    student,
    note(map, step, maps) {
      stepsOf(map).set(step, async () => maps)
    },
    async look({ text, map: asked, step: wanted, layer: atLayer, head: atHead }) {
      const all = tokenizer.encode(text)
      const most = Math.min(mostTokens, maxLength)
      const ids = [...all.subarray(0, most)]
      if (ids.length === 0) throw new RangeError('look: got no text, want a few words')
      const map =
        asked === undefined || asked === convertedName
          ? converted
            ? convertedName
            : fullName('hedgehog')
          : fullName(asked)
      const begun = student(map)
      const learns = map !== convertedName && Object.keys(begun.params).some(isMapPath)
      const steps = learns ? stepsOf(map) : new Map<number, () => Promise<Params>>([[0, async () => ({})]])
      const rising = [...steps.keys()].sort((a, b) => a - b)
      const step = wanted !== undefined && steps.has(wanted) ? wanted : rising.at(-1)!
      const current = withParams(begun, await steps.get(step)!())
      const found = []
      for (const one of await headsOf(ids)) found.push(await weightsOf(one.layer, current, one))
      const sizes = { heads, length: ids.length, causal }
      const place = {
        ...spikiest(found, sizes),
        ...(atLayer !== undefined && { layer: Math.min(atLayer, layers - 1) }),
      }
      if (atHead !== undefined) place.head = Math.min(atHead, heads - 1)
      return {
        layers,
        heads,
        most,
        cut: all.length > ids.length,
        tokens: ids.map((id) => tokenizer.decode([id])),
        map,
        ...(converted !== undefined && { converted }),
        maps: knownMaps,
        learns,
        steps: rising,
        step,
        ...place,
        ...measured(found, place, sizes),
      }
    },
    async dispose() {
      await stream.dispose()
      await functions.dispose()
    },
  }
}

function fullName(map: string): string {
  return planName(planNamed(map))
}

/** The same weights with softmax attention. */
function withoutMaps({ config, params }: Model): Model {
  const weights = Object.entries(params).filter(([path]) => !isMapPath(path))
  const attention = config.attention.map(() => ({ kind: 'softmax' }) as const)
  return { config: { ...config, attention }, params: Object.fromEntries(weights) }
}
