/** The attention of many students beside softmax, on the same queries and keys: their properties, and their weights. */

import { isMapPath } from '../attention/mapParams.ts'
import { attentionOf } from '../attention/plan.ts'
import { softmaxScores } from '../attention/softmax.ts'
import type { FloatArray, NDArray } from '../base/array.ts'
import { type BlockSource, functionCache } from '../execute/blocks.ts'
import { add, concat, constantLike, matmul, reshape, slice, sum } from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import { familyOf } from '../models/families.ts'
import type { Model, ModelConfig } from '../models/model.ts'
import { below, prefixed } from '../nn/params.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import { type LayerHeads, openHeads } from './headStream.ts'
import { type Property, properties } from './properties.ts'
import { type PropertyName, propertyNames } from './propertyNames.ts'
import { steadiness } from './steadiness.ts'

/** Values of one head: means over queries of the properties that were asked for. */
export interface HeadProperties extends Readonly<Partial<Record<PropertyName, number>>> {
  /** The student's name, or `softmax` for the teacher itself. */
  readonly name: string
  readonly layer: number
  readonly head: number
}

/** Attention of one layer on one batch: all (b h l l). */
export interface ShownLayer {
  readonly layer: number
  /** Weights by name, `softmax` first. */
  readonly weights: Readonly<Record<string, FloatArray>>
  /** q·k/√d that the weights of a name came from, hidden positions very low. */
  readonly scores: Readonly<Record<string, FloatArray>>
}

/** Options of {@link createInspection}. */
export interface InspectionOptions {
  /**
   * Whose hidden states the students' layers see. `teacher` (the default) compares the same queries and keys, as
   * distillation does, in one pass of the teacher for all students; `student` runs each student as it is.
   */
  readonly stream?: 'teacher' | 'student'
  /** Default: all. */
  readonly properties?: readonly PropertyName[]
  /** The most queries whose weights are in memory at once; default: as many as take 32 MiB for all heads. */
  readonly queryBlock?: number
  /** Has the parameters of blocks that the models do not have themselves, the same for all. */
  readonly blocks?: BlockSource
}

/** Compares students with a teacher; sessions are opened once for each shape and reused until it is disposed. */
export interface Inspection {
  /** The properties of the teacher and of every student in every head, on a batch of ids (b l). */
  measure(ids: NDArray): Promise<HeadProperties[]>
  /** The weights themselves, for texts that are short enough to be shown whole. */
  weights(ids: NDArray): AsyncGenerator<ShownLayer>
  dispose(): Promise<void>
}

/** The name of the teacher among the students. */
export const teacherName = 'softmax'

/** One of those compared: index 0 is the teacher. */
interface Subject {
  readonly name: string
  readonly model: Model
}

/**
 * Prepares a comparison of models that share the teacher's sizes.
 * @throws RangeError for a student that is named `softmax`, or of another number of layers or heads.
 */
export function createInspection(
  device: Device,
  teacher: Model,
  students: Readonly<Record<string, Model>>,
  options: InspectionOptions = {},
): Inspection {
  const subjects: Subject[] = [{ name: teacherName, model: teacher }]
  for (const [name, model] of Object.entries(students)) subjects.push(checked(teacher, { name, model }))
  const { stream = 'teacher', queryBlock, blocks } = options
  const wanted = propertyNames.filter((name) => options.properties?.includes(name) ?? true)
  const functions = functionCache(device)
  const streamed = stream === 'teacher' ? subjects.slice(0, 1) : subjects
  const streams = streamed.map(({ model }) => openHeads(device, model, blocks))
  const run = (kind: string, layer: number, build: () => (inputs: Tensors) => Tensors) =>
    functions.get(`${kind} ${JSON.stringify(subjects.map(({ model }) => model.config.attention[layer]))}`, build)

  /** Queries and keys of each layer, of the teacher and where they differ of each student, as inputs. */
  async function* layers(ids: NDArray): AsyncGenerator<{ layer: number; heads: LayerHeads; inputs: Arrays }> {
    const runs = streams.map((one) => one.layers(ids))
    for await (const heads of runs[0]!) {
      let inputs: Arrays = mapInputs(subjects, heads.layer)
      for (const [i, other] of runs.entries()) {
        const { q, k } = i === 0 ? heads : ((await other.next()).value as LayerHeads)
        inputs = { ...inputs, [`${i}.q`]: q, [`${i}.k`]: k }
      }
      yield { layer: heads.layer, heads, inputs }
    }
  }

  return {
    async measure(ids) {
      const found: HeadProperties[] = []
      for await (const { layer, heads, inputs } of layers(ids)) {
        const sizes = sizesOf(teacher.config, heads, queryBlock)
        const compare = run('measure', layer, () => (given) => measured(subjects, layer, given, sizes, wanted))
        found.push(...headsOf(subjects, layer, await compare(inputs), sizes, wanted))
      }
      const place = new Map(subjects.map(({ name }, i) => [name, i]))
      return found.sort((a, b) => place.get(a.name)! - place.get(b.name)!)
    },
    async *weights(ids) {
      for await (const { layer, inputs } of layers(ids)) {
        const show = run('weights', layer, () => (given) => shown(subjects, layer, given, teacher.config.causal))
        const found = await show(inputs)
        const named = (kind: string) =>
          Object.fromEntries(
            subjects.map(({ name }, i) => [name, (found[`${kind}.${i}`] ?? found[`${kind}.0`]) as FloatArray]),
          )
        yield { layer, weights: named('weights'), scores: named('scores') }
      }
    },
    async dispose() {
      for (const one of streams) await one.dispose()
      await functions.dispose()
    },
  }
}

/** Means over batches of several results of {@link Inspection.measure}, each counted `weight` times. */
export function meanProperties(
  parts: readonly { readonly heads: readonly HeadProperties[]; readonly weight: number }[],
): HeadProperties[] {
  const total = parts.reduce((sum, { weight }) => sum + weight, 0)
  return (parts[0]?.heads ?? []).map(({ name, layer, head, ...first }, i) => {
    const means = (Object.keys(first) as PropertyName[]).map((property) => [
      property,
      parts.reduce((sum, { heads, weight }) => sum + heads[i]![property]! * (weight / total), 0),
    ])
    return { name, layer, head, ...Object.fromEntries(means) }
  })
}

function checked(teacher: Model, subject: Subject): Subject {
  const { name, model } = subject
  if (name === teacherName) throw new RangeError(`inspection: got a student named ${name}, which the teacher is called`)
  for (const size of ['layers', 'heads', 'headDim'] as const) {
    const [got, want] = [model.config[size], teacher.config[size]]
    if (got !== want) throw new RangeError(`inspection: ${name}: got ${size} ${got}, want the teacher's ${want}`)
  }
  return subject
}

/** The parameters of every subject's attention in a layer: `0.p.feature_map_q.weight`. */
function mapInputs(subjects: readonly Subject[], layer: number): Arrays {
  const parts = subjects.map(({ model: { config, params } }, i) => {
    const family = familyOf(config)
    const own = below(`${family.blockPrefix(layer)}${family.attentionPrefix}`, params)
    return prefixed(`${i}.p.`, Object.fromEntries(Object.entries(own).filter(([path]) => isMapPath(path))))
  })
  return Object.assign({}, ...parts)
}

/** What a comparison of one layer runs over. */
interface Sizes {
  readonly batch: number
  readonly heads: number
  readonly length: number
  readonly causal: boolean
  /** [start, end) of queries whose weights are in memory together. */
  readonly blocks: readonly (readonly [start: number, end: number])[]
  /** The queries that rows are compared on. */
  readonly rows: readonly number[]
}

/** Bytes of one subject's weights in a block of queries. */
const blockBytes = 2 ** 25

/** How many queries of each sequence the properties of rows are measured on. */
const sampledQueries = 32

function sizesOf({ causal }: ModelConfig, { q }: LayerHeads, queryBlock?: number): Sizes {
  const [batch, heads, length] = q.shape as [number, number, number, number]
  const most = queryBlock ?? Math.max(1, Math.floor(blockBytes / (4 * batch * heads * length)))
  // Kinds take fewer queries than keys for the last of them, which is right for blocks of a causal model only.
  const count = causal ? Math.ceil(length / most) : 1
  const size = Math.ceil(length / count)
  const blocks = Array.from({ length: Math.ceil(length / size) }, (_, i) => {
    return [i * size, Math.min(length, (i + 1) * size)] as const
  })
  // Spread over the later three quarters: the first queries see too few keys to tell.
  const first = Math.min(Math.max(2, Math.floor(length / 4)), length - 1)
  const picked = Math.min(sampledQueries, length - first)
  const rows = Array.from({ length: picked }, (_, i) => first + Math.floor((i * (length - first)) / picked))
  return { batch, heads, length, causal, blocks, rows }
}

/** Which rows of a block are sampled, counted from its first. */
function rowsIn({ rows }: Sizes, [start, end]: readonly [number, number]): number[] {
  return rows.filter((row) => row >= start && row < end).map((row) => row - start)
}

/**
 * Traces the comparison: `sums` over queries (subjects·properties h), and rows of weights and scores. The engine runs
 * what a result needs in depth: so each subject of a block ends before the next begins, and only one's weights are kept.
 */
function measured(
  subjects: readonly Subject[],
  layer: number,
  inputs: Tensors,
  sizes: Sizes,
  wanted: readonly PropertyName[],
): Tensors {
  const { causal } = sizes
  const onRows = wanted.some((name) => (properties[name] as Property).perRow)
  const results: Record<string, Tensor> = {}
  const sums = sizes.blocks.map((block, b) => {
    const picked = onRows ? rowsIn(sizes, block) : []
    let softmax: Tensor | undefined
    const parts = subjects.map(({ model }, i) => {
      const heads = blockHeads(inputs, i, causal, block)
      const own = attentionOf(model.config.attention[layer]!)
      const weights = own.weights(below(`${i}.p.`, inputs), heads, { causal })
      softmax ??= weights
      const rows = picked.length > 0 ? pickRows(weights, picked) : undefined
      if (rows) results[`rows.${i}.${b}`] = rows
      if (rows && `${i}.q` in inputs) {
        results[`scores.${i}.${b}`] = pickRows(softmaxScores(heads.q, heads.k, { causal }), picked)
      }
      return subjectSums(softmax, weights, rows, wanted)
    })
    return concat(parts, 0)
  })
  return { ...results, sums: sums.reduce((total, part) => add(total, part)) }
}

/** One subject's sums over batch and queries, a row for each property in the graph and one of its sampled rows: (p h). */
function subjectSums(
  softmax: Tensor,
  weights: Tensor,
  rows: Tensor | undefined,
  wanted: readonly PropertyName[],
): Tensor {
  const perHead = (values: Tensor) => reshape(sum(values, [0, 2, 3]), [1, values.shape[1]!])
  const parts = inGraph(wanted).map((name) => perHead(perQuery(name)!(softmax, weights)))
  // Of no use but that it makes the rows be cut out while the weights are there.
  return concat([...parts, perHead(rows ?? slice(weights, 2, 0, 1))], 0)
}

const inGraph = (wanted: readonly PropertyName[]) => wanted.filter((name) => perQuery(name))

const perQuery = (name: PropertyName) => (properties[name] as Property).perQuery

/** A block's queries with the keys up to its end: those of the teacher where a subject has none of its own. */
function blockHeads(inputs: Tensors, subject: number, causal: boolean, [start, end]: readonly [number, number]) {
  const [q, k] = [inputs[`${subject}.q`] ?? inputs['0.q']!, inputs[`${subject}.k`] ?? inputs['0.k']!]
  return { q: slice(q, 2, start, end), k: causal ? slice(k, 2, 0, end) : k }
}

/** Some rows of each matrix, by a product that is exact: (b h c s) -> (b h r s). */
function pickRows(x: Tensor, picked: readonly number[]): Tensor {
  const c = x.shape[2]!
  return matmul(
    constantLike(x, [picked.length, c], (i) => (picked[Math.floor(i / c)] === i % c ? 1 : 0)),
    x,
  )
}

/** Traces all weights, and the scores of each subject with queries of its own. */
function shown(subjects: readonly Subject[], layer: number, inputs: Tensors, causal: boolean): Tensors {
  const results: Record<string, Tensor> = {}
  for (const [i, { model }] of subjects.entries()) {
    const [q, k] = [inputs[`${i}.q`] ?? inputs['0.q']!, inputs[`${i}.k`] ?? inputs['0.k']!]
    const own = attentionOf(model.config.attention[layer]!)
    results[`weights.${i}`] = own.weights(below(`${i}.p.`, inputs), { q, k }, { causal })
    if (`${i}.q` in inputs) results[`scores.${i}`] = softmaxScores(q, k, { causal })
  }
  return results
}

/** The results of {@link measured} as values of heads. */
function headsOf(
  subjects: readonly Subject[],
  layer: number,
  found: Arrays,
  sizes: Sizes,
  wanted: readonly PropertyName[],
): HeadProperties[] {
  const queries = sizes.batch * sizes.length
  const onRows = rowValues(subjects.length, found, sizes, wanted)
  const summed = inGraph(wanted)
  return subjects.flatMap(({ name }, i) =>
    Array.from({ length: sizes.heads }, (_, head) => {
      const sumOf = (row: number) => found.sums!.data[(i * (summed.length + 1) + row) * sizes.heads + head]!
      const values = wanted.map((property) => [
        property,
        perQuery(property) ? sumOf(summed.indexOf(property)) / queries : onRows[property]![i * sizes.heads + head]!,
      ])
      return { name, layer, head, ...Object.fromEntries(values) }
    }),
  )
}

/** Means over the sampled rows, by property: (subjects h). */
function rowValues(count: number, found: Arrays, sizes: Sizes, wanted: readonly PropertyName[]) {
  const { batch, heads, causal } = sizes
  const names = wanted.filter((name) => (properties[name] as Property).perRow)
  const totals = Object.fromEntries(names.map((name) => [name, new Float64Array(count * heads)]))
  const share = 1 / (batch * sizes.rows.length)
  for (const [b, block] of names.length === 0 ? [] : sizes.blocks.entries()) {
    const picked = rowsIn(sizes, block)
    for (let row = 0; row < batch * heads * picked.length; row++) {
      const head = Math.floor(row / picked.length) % heads
      const keys = causal ? block[0] + picked[row % picked.length]! + 1 : sizes.length
      const cut = ({ shape, data }: NDArray) => data.subarray(row * shape[3]!, row * shape[3]! + keys)
      let compared = steadiness([])
      for (let i = 0; i < count; i++) {
        const scores = found[`scores.${i}.${b}`]
        if (scores) compared = steadiness(cut(scores))
        const value = compared(cut(found[`rows.${i}.${b}`]!))
        for (const name of names) {
          totals[name]![i * heads + head]! += share * (properties[name] as Property).perRow!(value)
        }
      }
    }
  }
  return totals
}
