/** Which metrics a model can have: what it predicts must be what the metric is measured on. */

import { type MetricInputs, type MetricName, metrics } from '../metrics/metrics.ts'
import type { Task } from '../models/model.ts'

/** What a model of a task gives: losses of tokens and texts, classes, or numbers. */
export const taskOutputs: Readonly<Record<Task, readonly (keyof MetricInputs)[]>> = {
  language: ['tokens', 'texts'],
  'masked-language': [],
  classification: ['classes'],
  regression: ['scores'],
  features: [],
}

/** The metrics that a model of a task can have, in the order of the table. */
export function metricsOf(task: Task): MetricName[] {
  return (Object.keys(metrics) as MetricName[]).filter((name) => taskOutputs[task].includes(metrics[name].needs))
}

/** @throws RangeError at `where` for a metric that a model of the task cannot have, naming those it can. */
export function checkMetrics(names: readonly MetricName[], task: Task, where = 'checkMetrics'): void {
  const known = metricsOf(task)
  const wrong = names.find((name) => !known.includes(name))
  if (wrong === undefined) return
  const able = known.length > 0 ? `want one of ${known.join(', ')}` : 'and there is none for such models'
  throw new RangeError(`${where}: got ${wrong}, which needs ${metrics[wrong].needs}, for a model of ${task}; ${able}`)
}
