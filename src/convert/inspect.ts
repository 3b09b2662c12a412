/** The properties of many feature maps on one model: distil those that learn, measure all, at several lengths of text. */

import { featureMap, featureMaps, mapAliases, mapNamed } from '../attention/featureMaps.ts'
import { isMapPath } from '../attention/mapParams.ts'
import { type AttentionPlan, attentionOf, isDistilled, planFor, planName, planNamed } from '../attention/plan.ts'
import { type NDArray, type Params, sizeOf } from '../base/array.ts'
import { Interrupted } from '../base/errors.ts'
import type { Ledger } from '../base/ledger.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { createInspection, type HeadProperties, meanProperties, teacherName } from '../evaluate/inspection.ts'
import { type Property, properties } from '../evaluate/properties.ts'
import type { PropertyName } from '../evaluate/propertyNames.ts'
import { batches, heldOut } from '../io/batches.ts'
import type { Model } from '../models/model.ts'
import { needsStretching, stretchPositions } from '../models/stretch.ts'
import { countParams } from '../nn/params.ts'
import type { InspectedMap, InspectHead, InspectResult, InspectRow } from '../report/inspect/types.ts'
import { shownHeads } from './inspectShown.ts'
import { linearize } from './linearize.ts'
import { type DistillJob, distilled } from './stages.ts'

/** A text to measure on. */
export interface InspectedText {
  readonly name: string
  readonly tokens: Int32Array
}

/** What is inspected, on what. */
export interface InspectJob extends Omit<DistillJob, 'trainTokens' | 'validationTokens' | 'distill'> {
  /** A softmax model, or a converted one: then its own attention is measured too, under the name {@link convertedName}. */
  readonly model: Model
  readonly texts: readonly InspectedText[]
  /** Feature maps and other attentions, as `planNamed` reads them; {@link allMaps} are all. */
  readonly maps: readonly string[]
  readonly properties: readonly PropertyName[]
  /** Tokens in a sequence, rising; longer than the model's positions where those can be stretched. */
  readonly lengths: readonly number[]
  /** Tokens that are read of each text at each length, at least one sequence. */
  readonly tokens: number
  /** How learned maps are distilled before they are measured; without it they are measured where they begin. */
  readonly distill?: Pick<DistillJob, 'trainTokens' | 'validationTokens' | 'distill'>
  readonly seed: number
  /** Where the measurements of each length are noted. */
  readonly ledger?: Ledger
}

/** The name of a converted model's own attention. */
export const convertedName = 'converted'

/** Every map of the table, `exp-t` once for each t that has a short name. */
export const allMaps: readonly string[] = Object.keys(featureMaps).flatMap((name) => {
  const chosen = Object.values(mapAliases).filter((full) => full.startsWith(`${name}:`))
  return chosen.length > 0 ? chosen : [name]
})

/** Whether a layer attends as its model was pretrained to. */
const isTeachers = ({ kind }: AttentionPlan) => kind === 'softmax' || kind === 'window'

/** One of those that are compared, before and after its distillation. */
interface Candidate {
  readonly name: string
  readonly plan: AttentionPlan
  readonly note?: string
  model(teacher: Model): Model
}

/**
 * Measures. @throws RangeError as {@link checkInspection} does; Interrupted when `signal` aborts; Error for a
 * distillation whose loss is not finite.
 */
export async function* inspect(job: InspectJob, decode: (id: number) => string): Job<InspectResult> {
  checkInspection(job)
  const teacher = teacherOf(job.model)
  const students: Record<string, Model> = {}
  const maps: InspectedMap[] = [{ ...described(job, teacherName, teacher), distilledSteps: 0, seconds: 0 }]
  for (const candidate of candidatesOf(job)) {
    const { model, seconds, steps } = yield* prepared(job, candidate, teacher)
    students[candidate.name] = model
    const note = candidate.note && { note: candidate.note }
    maps.push({ ...described(job, candidate.name, model, candidate.plan), ...note, distilledSteps: steps, seconds })
  }

  const rows: InspectRow[] = []
  const heads: InspectHead[] = []
  const main = mainLength(job)
  for (const length of job.lengths) {
    const noted = job.ledger?.done[`length ${length}`] as MeasuredText[] | undefined
    const measured = noted ?? (yield* measuredAt(job, length, teacher, students))
    if (!noted) await job.ledger?.note(`length ${length}`, measured)
    rows.push(...measured.flatMap(({ text, heads: found }) => meansOf(text, length, found)))
    if (length !== main) continue
    heads.push(...measured.flatMap(({ text, heads: found }) => found.map((one) => headOf(text, one))))
  }
  const { distill } = job
  return {
    model: modelFacts(job.model),
    properties: job.properties.map((name) => {
      const { title, summary, unit, best } = properties[name] as Property
      return { name, title, summary, unit, best }
    }),
    texts: job.texts.map(({ name }) => ({ name, tokens: sequences(job, main).count * main })),
    ...(distill &&
      maps.some(({ distilledSteps }) => distilledSteps > 0) && {
        distillation: {
          steps: distill.distill.steps,
          length: distill.distill.length,
          tokens: distill.trainTokens.length,
        },
      }),
    lengths: job.lengths.map((length) => ({ length, stretched: needsStretching(job.model, length) })),
    mainLength: main,
    maps,
    rows,
    heads,
    ...(await shownHeads(job, Math.min(main, job.model.config.maxLength), teacher, students, decode)),
  }
}

/**
 * Finds what would else fail only after minutes of work.
 * @throws RangeError for unknown maps, a length that a map or the model cannot do, and too little text.
 */
export function checkInspection(job: InspectJob): void {
  const { lengths, model, distill } = job
  const { config } = model
  const longest = lengths.at(-1) ?? 0
  if (lengths.length === 0 || lengths.some((length, i) => i > 0 && length <= lengths[i - 1]!)) {
    throw new RangeError(`inspect: got the lengths ${lengths.join(', ') || 'none'}, want some, rising`)
  }
  if (needsStretching(model, longest)) stretchPositions(model, longest)
  const candidates = candidatesOf(job)
  for (const { name, plan } of candidates) {
    const plans = name === convertedName ? config.attention : [plan]
    const positions = Math.min(...plans.map((one) => attentionOf(one).positions ?? Infinity))
    const past = lengths.find((length) => length > positions)
    if (past !== undefined) {
      throw new RangeError(
        `inspect: ${name}: got a length of ${past}, want at most the ${positions} that it is made for`,
      )
    }
    if (!config.causal && (plan.kind === 'hybrid' || plan.kind === 'window')) {
      throw new RangeError(`inspect: ${name}: got a bidirectional model, want a causal one`)
    }
  }
  for (const { name, tokens } of job.texts) {
    if (tokens.length > longest) continue
    throw new RangeError(
      `inspect: ${name}: too little text, got ${tokens.length} tokens, want at least ${longest + 1} for a length of ` +
        `${longest}; give more text or smaller lengths`,
    )
  }
  if (!distill) return
  try {
    batches(distill.trainTokens, distill.distill)
    heldOut(distill.validationTokens, distill.distill)
  } catch (error) {
    throw new RangeError(`inspect: text to distil on: ${(error as Error).message}`, { cause: error })
  }
}

/** The longest length that the model has positions for, or else the shortest. */
export function mainLength({ lengths, model }: Pick<InspectJob, 'lengths' | 'model'>): number {
  return lengths.filter((length) => !needsStretching(model, length)).at(-1) ?? lengths[0]!
}

/** The same weights with softmax in the place of what a conversion put there. */
function teacherOf({ config, params }: Model): Model {
  const attention = config.attention.map((plan): AttentionPlan => (isTeachers(plan) ? plan : { kind: 'softmax' }))
  const weights = Object.entries(params).filter(([path]) => !isMapPath(path))
  return { config: { ...config, attention }, params: Object.fromEntries(weights) }
}

/** A converted model's own attention, then the maps, each once. @throws RangeError for an unknown one. */
function candidatesOf({ model, maps, lengths, seed }: InspectJob): Candidate[] {
  const own = model.config.attention
  const odd = own.find((plan) => !isTeachers(plan))
  const names = [...new Set(own.map(planName))].join(', ')
  const converted: Candidate[] = odd ? [{ name: convertedName, plan: odd, note: names, model: () => model }] : []
  const positions = Math.max(model.config.maxLength, ...lengths)
  const full = maps.map((name) => planName(planNamed(name))).filter((name) => name !== teacherName)
  const named = [...new Set(full)].map((name): Candidate => {
    // A map whose kernel depends on the number of positions has one kernel for all lengths.
    const plan = planFor(planNamed(name), positions)
    const note = planName(plan) === name ? {} : { note: `as ${planName(plan)}` }
    const build = (teacher: Model) => linearize(teacher, planName(plan), random(seed).split(name))
    return { name, plan, ...note, model: build }
  })
  return [...converted, ...named]
}

/** A student as it is measured: its maps where they begin, or distilled. */
async function* prepared(job: InspectJob, { name, plan, model }: Candidate, teacher: Model) {
  const student = model(teacher)
  const { distill } = job
  if (name === convertedName || !distill || !isDistilled(plan)) return { model: student, seconds: 0, steps: 0 }
  const stage = yield* distilled({ ...job, ...distill }, name, student)
  return { ...stage, steps: stage.curve ? distill.distill.steps : 0 }
}

/** Sequences of a length that are read of each text, and how many at once. */
function sequences({ tokens, texts }: InspectJob, length: number): { count: number; batch: number } {
  const shortest = Math.min(...texts.map((text) => text.tokens.length))
  const most = Math.max(1, Math.floor(Math.min(tokens, shortest - 1) / length))
  const batch = Math.min(most, Math.max(1, Math.floor(batchTokens / length)))
  // Whole batches only, so that one graph serves all.
  return { count: most - (most % batch), batch }
}

/** Tokens of a batch, so that its weights stay small beside those of a single long sequence. */
const batchTokens = 2048

interface MeasuredText {
  readonly text: string
  readonly heads: readonly HeadProperties[]
}

/** All students on all texts at one length, in sessions that are opened once for it. */
async function* measuredAt(
  job: InspectJob,
  length: number,
  teacher: Model,
  students: Readonly<Record<string, Model>>,
): Job<MeasuredText[]> {
  const fitted = (model: Model) => (needsStretching(model, length) ? stretchPositions(model, length) : model)
  const own = Object.fromEntries(Object.entries(students).map(([name, model]) => [name, fitted(model)]))
  const inspection = createInspection(job.device, fitted(teacher), own, { properties: job.properties })
  const { count, batch } = sequences(job, length)
  const steps = (job.texts.length * count) / batch
  const phase = `measure ${length} tokens`
  const began = job.clock()
  const measured: MeasuredText[] = []
  let step = 0
  try {
    for (const { name, tokens } of job.texts) {
      const parts: { heads: readonly HeadProperties[]; weight: number }[] = []
      const ids: NDArray[] = [...heldOut(tokens.subarray(0, count * length + 1), { length, batch })].map((b) => b.ids)
      for (const one of ids) {
        if (job.signal?.aborted) throw new Interrupted(`${phase}: stopped after batch ${step} of ${steps}`)
        parts.push({ heads: await inspection.measure(one), weight: batch })
        step += 1
        yield { phase, step, steps, seconds: job.clock() - began, tokens: step * batch * length }
      }
      measured.push({ text: name, heads: meanProperties(parts) })
    }
  } finally {
    await inspection.dispose()
  }
  return measured
}

function described({ model }: InspectJob, name: string, { params }: Model, plan?: AttentionPlan) {
  const { headDim } = model.config
  const maps: Params = Object.fromEntries(Object.entries(params).filter(([path]) => isMapPath(path)))
  const parameters = Object.values(maps).reduce((total, { shape }) => total + sizeOf(shape), 0)
  const features = plan && 'map' in plan && { features: featureMap(mapNamed(plan.map)).features(headDim) }
  return { name, ...features, headDim, parameters }
}

function modelFacts({ config, params }: Model) {
  const { family, layers, heads, width } = config
  return { family, layers, heads, width, parameters: countParams(params) }
}

/** Values without what says whose they are. */
function valuesOf({ name: _name, layer: _layer, head: _head, ...values }: HeadProperties) {
  return values as Record<string, number>
}

function headOf(text: string, one: HeadProperties): InspectHead {
  return { map: one.name, text, layer: one.layer, head: one.head, values: rounded(valuesOf(one)) }
}

/** Means over heads, by map. */
function meansOf(text: string, length: number, heads: readonly HeadProperties[]): InspectRow[] {
  const names = [...new Set(heads.map(({ name }) => name))]
  return names.map((map) => {
    const own = heads.filter(({ name }) => name === map).map(valuesOf)
    const means = Object.keys(own[0]!).map((property) => {
      return [property, own.reduce((total, values) => total + values[property]!, 0) / own.length] as const
    })
    return { map, text, length, values: rounded(Object.fromEntries(means)) }
  })
}

/** Six decimals, which is more than the texts determine. */
function rounded(values: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value.toFixed(6))]))
}
