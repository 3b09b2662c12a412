/** A conversion as a report: rows, curves, heads, attention maps and weight curves, all plain data. */

import { type FloatArray, ints } from '../base/array.ts'
import { random } from '../base/random.ts'
import { layerWeights } from '../evaluate/fidelity.ts'
import { paramSpecs } from '../models/families.ts'
import type { Model } from '../models/model.ts'
import { countParams } from '../nn/params.ts'
import type { AttentionMap, HeadScore, Report, Row, WeightCurve } from '../report/types.ts'
import { type Conversion, type ConvertJob, comparedMaps, type Entry, rowName } from './convert.ts'
import { linearize } from './linearize.ts'

/** What a report says of the run itself. */
export type RunFacts = Pick<Report, 'name' | 'seconds' | 'peakMemoryBytes' | 'versions' | 'command'>

/** How many heads are shown in full. */
const shownHeads = 4
/** Tokens of the text that attention maps are shown on. */
const shownTokens = 32

/** The report of a conversion; `decode` gives the text of one token. */
export async function reportOf(
  job: ConvertJob,
  conversion: Conversion,
  facts: RunFacts,
  decode: (id: number) => string,
): Promise<Report> {
  const { adapter: _, ...config } = conversion.model.config
  const chosen = chooseHeads(conversion.entries)
  return {
    ...facts,
    seed: job.seed,
    model: {
      family: config.family,
      layers: config.layers,
      heads: config.heads,
      width: config.width,
      parameters: countParams(paramSpecs(config)),
    },
    data: {
      trainTokens: job.trainTokens.length,
      validationTokens: job.validationTokens.length,
      testTokens: job.testTokens.length,
      length: job.finetune.length,
    },
    rows: conversion.entries.map(rowOf),
    converted: rowName(job.map),
    curves: conversion.curves,
    heads: conversion.entries.flatMap(headScores),
    maps: await attentionMaps(job, conversion, chosen, decode),
    weightCurves: await weightCurves(job, conversion, chosen),
  }
}

function rowOf({ name, score, heads, seconds }: Entry): Row {
  const mean = (pick: (head: NonNullable<Entry['heads']>[number]) => number) =>
    heads!.reduce((total, head) => total + pick(head), 0) / heads!.length
  return {
    name,
    perplexity: score.perplexity,
    loss: score.loss,
    ...(heads && {
      kl: mean(({ kl }) => kl),
      entropy: mean(({ entropyStudent }) => entropyStudent),
      monotonicity: mean(({ monotonicity }) => monotonicity),
    }),
    seconds,
  }
}

function headScores({ name, heads = [] }: Entry): HeadScore[] {
  return heads.map((head) => ({ ...head, row: name }))
}

interface HeadId {
  readonly layer: number
  readonly head: number
}

/** Heads from spiky to flat, by the teacher's entropy. */
function chooseHeads(entries: readonly Entry[]): HeadId[] {
  const heads = entries.find((entry) => entry.heads)?.heads ?? []
  const sorted = [...heads].sort((a, b) => a.entropyTeacher - b.entropyTeacher)
  const picks = Array.from({ length: Math.min(shownHeads, sorted.length) }, (_, i) =>
    Math.round((i * (sorted.length - 1)) / Math.max(shownHeads - 1, 1)),
  )
  return picks.map((pick) => ({ layer: sorted[pick]!.layer, head: sorted[pick]!.head }))
}

/** The teacher and the distilled student on the same queries and keys, for the start of the test text. */
async function attentionMaps(
  job: ConvertJob,
  conversion: Conversion,
  chosen: readonly HeadId[],
  decode: (id: number) => string,
): Promise<AttentionMap[]> {
  const tokens = job.testTokens.subarray(0, Math.min(shownTokens, job.finetune.length))
  const distilled = await weightsByHead(job, modelOf(conversion, `${rowName(job.map)}-distilled`), tokens, chosen)
  const untrained = await weightsByHead(job, modelOf(conversion, 'untrained'), tokens, chosen)
  return chosen.map(({ layer, head }) => {
    const at = (rows: Float32Array) => matrix(rows, tokens.length)
    const own = distilled(layer, head)
    return {
      layer,
      head,
      tokens: Array.from(tokens, decode),
      teacher: at(own.teacher),
      student: at(own.student),
      untrained: at(untrained(layer, head).student),
    }
  })
}

/** Weight against q·k/√d over the keys of one late query, for softmax, the distilled map and the compared ones. */
async function weightCurves(
  job: ConvertJob,
  conversion: Conversion,
  chosen: readonly HeadId[],
): Promise<WeightCurve[]> {
  const length = job.finetune.length
  const tokens = job.testTokens.subarray(0, length)
  const swapped = (map: string) => linearize(job.teacher, map, random(job.seed).split(map))
  const students: [string, Model][] = [
    [`${rowName(job.map)}-distilled`, modelOf(conversion, `${rowName(job.map)}-distilled`)],
    ...comparedMaps(job).map((map): [string, Model] => [`${map}-untrained`, swapped(map)]),
  ]
  const found: { name: string; at: Awaited<ReturnType<typeof weightsByHead>> }[] = []
  for (const [name, model] of students) found.push({ name, at: await weightsByHead(job, model, tokens, chosen) })
  return chosen.map(({ layer, head }) => {
    const last = (rows: Float32Array) => rows.subarray((length - 1) * length, length * length)
    const points = (scores: Float32Array, weights: Float32Array) =>
      Array.from(last(scores), (score, i) => [score, last(weights)[i]!] as const)
    const softmax = found[0]!.at(layer, head)
    return {
      layer,
      head,
      series: [
        { name: 'softmax', points: points(softmax.scores, softmax.teacher) },
        ...found.map(({ name, at }) => ({ name, points: points(at(layer, head).scores, at(layer, head).student) })),
      ],
    }
  })
}

/** Weights and scores of one head on one sequence, [query][key]. */
type HeadWeights = Readonly<Record<'teacher' | 'student' | 'scores', Float32Array>>

/** Those of some heads, the student on the teacher's hidden states; those of all may take more memory than the model. */
async function weightsByHead(job: ConvertJob, student: Model, tokens: Int32Array, chosen: readonly HeadId[]) {
  const size = tokens.length * tokens.length
  const found = new Map<string, HeadWeights>()
  const options = { stream: 'teacher', ...(job.blocks && { blocks: job.blocks }) } as const
  const shown = layerWeights(job.device, job.teacher, student, ints([1, tokens.length], tokens), options)
  for await (const { layer, teacher, student: own, scores } of shown) {
    for (const { head } of chosen.filter((one) => one.layer === layer)) {
      const cut = ({ data }: FloatArray) => data.slice(head * size, (head + 1) * size)
      found.set(`${layer} ${head}`, { teacher: cut(teacher), student: cut(own), scores: cut(scores) })
    }
    if (chosen.every((one) => one.layer <= layer)) break
  }
  return (layer: number, head: number) => found.get(`${layer} ${head}`)!
}

function modelOf(conversion: Conversion, name: string): Model {
  const entry = conversion.entries.find((candidate) => candidate.name === name)
  if (entry) return entry.model
  throw new Error(`report: the conversion has no entry ${name}`)
}

function matrix(rows: Float32Array, length: number): number[][] {
  return Array.from({ length }, (_, i) =>
    Array.from(rows.subarray(i * length, (i + 1) * length), (x) => Number(x.toFixed(5))),
  )
}
