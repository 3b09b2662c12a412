/** Classifiers converted by each attention: the score when it is swapped, and after the same finetuning for all. */

import type { Job } from '../base/progress.ts'
import type { MetricName } from '../metrics/metrics.ts'
import type { Model } from '../models/model.ts'
import type { CaseResult, Column, Line } from '../report/experimentTypes.ts'
import type { CurvePoint } from '../train/train.ts'
import { converted, type LabelledData, type LearningRecipe, learned, percent, predicted } from './classifier.ts'
import type { Case, Setup } from './experiment.ts'

/** A column of a metric in percent. */
export const percentColumn = (name: string): Column => ({ name, unit: '%', better: 'higher', digits: 1 })

/** The column of a metric before finetuning. */
export const swappedColumn = (name: string): Column => percentColumn(swappedName(name))

const swappedName = (name: string): string => `raw ${name}`

/** A classifier to convert, and what it is measured by. */
export interface Conversion {
  /** Before any training on the task. */
  readonly start: Model
  readonly data: LabelledData
  /** Metrics by the names of their columns. */
  readonly metrics: Readonly<Record<string, MetricName>>
  /** None where `start` knows the task already. */
  readonly teach?: LearningRecipe
  readonly distill: LearningRecipe
  readonly finetune: LearningRecipe
}

/** One row: a teacher that is trained once for all of them, converted, and measured twice. */
export async function* conversionRow(
  setup: Setup,
  stage: string,
  attention: string,
  { start, data, metrics, teach, distill, finetune }: Conversion,
): Job<CaseResult> {
  const prefix = stage === '' ? '' : `${stage}-`
  const teacher = teach ? yield* learned(setup, `${prefix}teacher`, 'train', start, data, teach) : undefined
  const own = `${prefix}${attention}`.replaceAll('/', '_')
  const model = teacher?.model ?? start
  const { swapped, finetuned, curves } = yield* converted(setup, own, model, attention, data, { distill, finetune })
  const batch = finetune.batch
  const before = yield* predicted(setup, `score ${own}, swapped`, swapped, data.test(batch))
  const after = yield* predicted(setup, `score ${own}`, finetuned, data.test(batch))
  const values = Object.entries(metrics).flatMap(([name, metric]) => [
    [name, percent(metric, after)] as const,
    [swappedName(name), percent(metric, before)] as const,
  ])
  return { values: Object.fromEntries(values), lines: linesOf(curves) }
}

/** The rows of an experiment with one task. */
export function conversionCases(setup: Setup, conversion: Conversion): Case[] {
  return setup.attentions.map((name) => ({ name, run: () => conversionRow(setup, '', name, conversion) }))
}

function linesOf({ distill, finetune }: Readonly<Record<'distill' | 'finetune', readonly CurvePoint[]>>): Line[] {
  const points = distill.map(({ step, loss }) => [step, loss] as const)
  const distillation = { chart: 'Loss of distillation', x: 'step', y: 'loss', points }
  return [...(points.length > 1 ? [distillation] : []), ...heldOutLine(finetune)]
}

/** The held-out losses of a curve as a line of a chart, where there are several. */
export function heldOutLine(curve: readonly CurvePoint[]): Line[] {
  const points = curve.flatMap(({ step, validationLoss }): [number, number][] =>
    validationLoss === undefined ? [] : [[step, validationLoss]],
  )
  return points.length > 1 ? [{ chart: 'Held-out loss while all weights learn', x: 'step', y: 'loss', points }] : []
}
