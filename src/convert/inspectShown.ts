/** What an inspection shows of single heads: weights over a short text, and weights against q·k. */

import { ints } from '../base/array.ts'
import { createInspection, teacherName } from '../evaluate/inspection.ts'
import type { Model } from '../models/model.ts'
import type { InspectResult, ShownHead } from '../report/inspect/types.ts'
import type { WeightCurve } from '../report/types.ts'
import type { Device } from '../runtime/device.ts'

/** How many heads are shown. */
const shown = 3
/** Tokens of the first text that weights are shown on. */
const shownTokens = 32
/** The most keys of a curve. */
const curveTokens = 256

/** Rows of weights and scores of one layer, by name. */
interface Layer {
  readonly weights: Readonly<Record<string, Float32Array>>
  readonly scores: Float32Array
}

/** Heads from spiky to flat, with the weights of softmax and of every student. @param length tokens of the curves */
export async function shownHeads(
  job: { readonly device: Device; readonly texts: readonly { readonly tokens: Int32Array }[] },
  length: number,
  teacher: Model,
  students: Readonly<Record<string, Model>>,
  decode: (id: number) => string,
): Promise<Pick<InspectResult, 'shown' | 'curves'>> {
  const inspection = createInspection(job.device, teacher, students)
  const { heads, causal } = teacher.config
  const layersOf = async (tokens: Int32Array): Promise<Layer[]> => {
    const layers: Layer[] = []
    for await (const { weights, scores } of inspection.weights(ints([1, tokens.length], tokens))) {
      const data = Object.entries(weights).map(([name, array]) => [name, array.data] as const)
      layers.push({ weights: Object.fromEntries(data), scores: scores[teacherName]!.data })
    }
    return layers
  }
  try {
    const tokens = job.texts[0]!.tokens
    const first = tokens.slice(0, Math.min(shownTokens, length))
    const last = tokens.slice(0, Math.min(curveTokens, length))
    const [near, far] = [await layersOf(first), await layersOf(last)]
    const chosen = chooseHeads(near, heads, first.length)
    const texts = Array.from(first, decode)
    return {
      shown: chosen.map((head) => shownHead(near, head, texts, causal)),
      curves: chosen.map((head) => weightCurve(far, head, last.length)),
    }
  } finally {
    await inspection.dispose()
  }
}

interface HeadId {
  readonly layer: number
  readonly head: number
}

/** Heads spread from the spikiest to the flattest, by the entropy of softmax. */
function chooseHeads(layers: readonly Layer[], heads: number, l: number): HeadId[] {
  const all = layers.flatMap(({ weights }, layer) =>
    Array.from({ length: heads }, (_, head) => {
      const own = weights[teacherName]!.subarray(head * l * l, (head + 1) * l * l)
      return { layer, head, entropy: own.reduce((total, a) => total - (a > 0 ? a * Math.log(a) : 0), 0) }
    }),
  )
  const sorted = all.sort((a, b) => a.entropy - b.entropy)
  const count = Math.min(shown, sorted.length)
  return Array.from({ length: count }, (_, i) => {
    const { layer, head } = sorted[Math.round((i * (sorted.length - 1)) / Math.max(count - 1, 1))]!
    return { layer, head }
  })
}

function shownHead(
  layers: readonly Layer[],
  { layer, head }: HeadId,
  tokens: readonly string[],
  causal: boolean,
): ShownHead {
  const l = tokens.length
  const maps = Object.entries(layers[layer]!.weights).map(([name, data]) => ({
    name,
    weights: Array.from({ length: l }, (_, query) => {
      const start = (head * l + query) * l
      return Array.from(data.subarray(start, start + (causal ? query + 1 : l)), (weight) => Number(weight.toFixed(4)))
    }),
  }))
  return { layer, head, tokens, maps }
}

/** Weights over the keys of the last query against its q·k/√d. */
function weightCurve(layers: readonly Layer[], { layer, head }: HeadId, l: number): WeightCurve {
  const last = (data: Float32Array) => data.subarray((head * l + l - 1) * l, (head * l + l) * l)
  const scores = last(layers[layer]!.scores)
  const series = Object.entries(layers[layer]!.weights).map(([name, data]) => {
    const weights = last(data)
    const points = Array.from(scores, (score, i) => [Number(score.toFixed(3)), significant(weights[i]!)] as const)
    return { name, points }
  })
  return { layer, head, series }
}

/** Four significant digits. */
const significant = (x: number) => Number(x.toPrecision(4))
