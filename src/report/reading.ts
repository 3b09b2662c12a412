/** Reads the JSON files that the command line writes, of whatever kind they are, to be drawn as their pages draw them. */

import { experimentSections } from './experiment.ts'
import type { ExperimentResult } from './experimentTypes.ts'
import { reportSections } from './html.ts'
import { inspectSections } from './inspect/html.ts'
import type { InspectReport } from './inspect/types.ts'
import { flag, isRecord, listOf, number, object, oneOf, optional, type Shape, tableOf, text, whole } from './shape.ts'
import type { Report } from './types.ts'

/** A file that was read. */
export interface ReadReport {
  readonly kind: 'conversion' | 'inspection' | 'experiment'
  readonly title: string
  /** Markup of its sections, each with a heading of its own. */
  readonly sections: readonly string[]
}

/** One kind of file: how it is known, what must be in it, what may be missing, and how it is drawn. */
interface Kind<T> {
  readonly kind: ReadReport['kind']
  /** A key that only this kind has. */
  readonly key: string
  readonly shape: Shape
  /** What stands for what is missing. */
  readonly empty: object
  title(value: T): string
  draw(value: T): readonly string[]
}

const pair: Shape = (value, where) => {
  listOf(number)(value, where)
  if ((value as unknown[]).length !== 2) throw new TypeError(`${where}: got ${JSON.stringify(value)}, want two numbers`)
}
const rows = listOf(listOf(number))
const facts = {
  seconds: number,
  seed: number,
  command: text,
  versions: tableOf(text),
}
/** Of layers and heads. */
const index = whole(1024)
const model = object({ family: text, layers: index, heads: index, width: number, parameters: number })
const weightCurves = listOf(
  object({ layer: index, head: index, series: listOf(object({ name: text, points: listOf(pair) })) }),
)

const conversion: Kind<Report> = {
  kind: 'conversion',
  key: 'data',
  shape: object({
    ...facts,
    name: text,
    peakMemoryBytes: optional(number),
    converted: optional(text),
    model,
    data: object({ trainTokens: number, validationTokens: number, testTokens: number, length: number }),
    rows: listOf(
      object({
        name: text,
        perplexity: number,
        loss: number,
        kl: optional(number),
        entropy: optional(number),
        monotonicity: optional(number),
        seconds: number,
        note: optional(text),
      }),
    ),
    curves: optional(
      listOf(
        object({
          name: text,
          phase: text,
          points: listOf(object({ step: number, loss: number, validationLoss: optional(number) })),
        }),
      ),
    ),
    heads: optional(
      listOf(
        object({
          layer: index,
          head: index,
          row: text,
          kl: number,
          entropyTeacher: number,
          entropyStudent: number,
          monotonicity: number,
        }),
      ),
    ),
    maps: optional(
      listOf(
        object({
          layer: index,
          head: index,
          tokens: listOf(text),
          teacher: rows,
          student: rows,
          untrained: optional(rows),
        }),
      ),
    ),
    weightCurves: optional(weightCurves),
  }),
  empty: { curves: [], heads: [], maps: [], weightCurves: [] },
  title: ({ name }) => `${name}, converted`,
  draw: reportSections,
}

const inspection: Kind<InspectReport> = {
  kind: 'inspection',
  key: 'mainLength',
  shape: object({
    ...facts,
    name: text,
    peakMemoryBytes: number,
    model,
    properties: listOf(
      object({ name: text, title: text, summary: text, unit: text, best: oneOf('low', 'high', 'softmax') }),
    ),
    texts: atLeastOne(object({ name: text, tokens: number })),
    distillation: optional(object({ steps: number, length: number, tokens: number })),
    lengths: listOf(object({ length: number, stretched: flag })),
    mainLength: number,
    maps: atLeastOne(
      object({
        name: text,
        features: optional(number),
        headDim: number,
        parameters: number,
        distilledSteps: number,
        seconds: number,
        note: optional(text),
      }),
    ),
    rows: listOf(object({ map: text, text, length: number, values: tableOf(number) })),
    heads: optional(listOf(object({ map: text, text, layer: index, head: index, values: tableOf(number) }))),
    shown: optional(
      listOf(
        object({
          layer: index,
          head: index,
          tokens: listOf(text),
          maps: listOf(object({ name: text, weights: rows })),
        }),
      ),
    ),
    curves: optional(weightCurves),
  }),
  empty: { heads: [], shown: [], curves: [] },
  title: ({ name }) => `${name}: attention inspected`,
  draw: inspectSections,
}

const published = object({ name: text, values: tableOf(number), note: optional(text) })

/** `result.json` says by what command it was made. */
type StoredResult = ExperimentResult & { readonly command: string }

const experiment: Kind<StoredResult> = {
  kind: 'experiment',
  key: 'experiment',
  shape: object({
    command: text,
    title: text,
    source: text,
    quick: flag,
    seed: number,
    seconds: number,
    settings: tableOf(number),
    columns: listOf(object({ name: text, unit: optional(text), better: oneOf('higher', 'lower'), digits: whole(20) })),
    rows: listOf(
      object({
        name: text,
        seconds: number,
        values: tableOf(number),
        note: optional(text),
        published: optional(published),
        lines: optional(listOf(object({ chart: text, x: text, y: text, points: listOf(pair) }))),
      }),
    ),
    unmeasured: optional(listOf(published)),
  }),
  empty: { unmeasured: [] },
  title: ({ title }) => title,
  draw: (result) => experimentSections(result, result.command),
}

const kinds: readonly Kind<never>[] = [experiment, inspection, conversion]

/**
 * What a JSON file holds.
 * @param where the file, for messages.
 * @throws Error in one line when it is no JSON, or not of `hedgehog`, or damaged.
 */
export function readReport(where: string, json: string): ReadReport {
  const found = parsed(where, json)
  const kind = isRecord(found) ? kinds.find(({ key }) => Object.hasOwn(found, key)) : undefined
  if (!kind || !isRecord(found)) {
    throw new Error(
      `${where}: is no report of hedgehog; want report.json of convert, inspect.json of inspect, or result.json of experiment`,
    )
  }
  try {
    kind.shape(found, '')
  } catch (error) {
    throw new Error(`${where}: ${(error as Error).message}; it is damaged, or of another version of hedgehog`, {
      cause: error,
    })
  }
  const value = { ...kind.empty, ...found } as never
  return {
    kind: kind.kind,
    title: kind.title(value),
    sections: kind.draw(value).filter((markup) => markup !== ''),
  }
}

function parsed(where: string, json: string): unknown {
  try {
    return JSON.parse(json)
  } catch (error) {
    throw new Error(
      `${where}: is not JSON (${(error as Error).message.slice(0, 80)}); choose the .json file of a report`,
      {
        cause: error,
      },
    )
  }
}

function atLeastOne(inner: Shape): Shape {
  return (value, where) => {
    listOf(inner)(value, where)
    if ((value as unknown[]).length === 0) throw new TypeError(`${where}: got an empty list, want at least one entry`)
  }
}
