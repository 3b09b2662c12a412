/** The part of a config.json that all families share: what the model is for, and how each layer attends. */

import { type AttentionPlan, readPlan } from '../attention/plan.ts'
import { adapterJson } from './adapter.ts'
import type { Family, Json, ModelConfig, Task } from './model.ts'

type Architectures = Family['architectures']

/** The tasks with one label, or several, per sequence. */
export function isPooled(task: Task): task is 'classification' | 'regression' {
  return task === 'classification' || task === 'regression'
}

/** The tasks with a label per token. */
export function isLanguage(task: Task): task is 'language' | 'masked-language' {
  return task === 'language' || task === 'masked-language'
}

/**
 * What a config.json says that its model is for. Without `architectures` it is the first task of the family.
 * @throws Error when the family has no such architecture, or labels several classes at once.
 */
export function readTask(json: Json, architectures: Architectures): { task: Task; labels: number } {
  const listed = (json.architectures as readonly unknown[] | undefined)?.[0]
  const name = typeof listed === 'string' ? listed.replace(/^Hedgehog/, '') : undefined
  const tasks = Object.keys(architectures) as Task[]
  const task = name === undefined ? tasks[0]! : tasks.find((known) => architectures[known] === name)
  if (!task) {
    const known = [...new Set(Object.values(architectures))].join(', ')
    throw new Error(`config.json: architectures: got ${JSON.stringify(listed)}, want one of ${known}`)
  }
  if (!isPooled(task)) return { task, labels: 0 }
  const labels = countLabels(json)
  if (json.problem_type === 'multi_label_classification') {
    throw new Error('config.json: problem_type: got "multi_label_classification", want one label per sequence')
  }
  return labels === 1 || json.problem_type === 'regression' ? { task: 'regression', labels: 1 } : { task, labels }
}

/** The number of classes: `num_labels`, else the entries of `id2label`, else 2 as the reference library has it. */
function countLabels({ num_labels: count, id2label: names }: Json): number {
  const found = count ?? (names && typeof names === 'object' ? Object.keys(names).length : 2)
  if (Number.isInteger(found) && (found as number) >= 1) return found as number
  throw new Error(`config.json: num_labels: got ${JSON.stringify(found)}, want a whole number from 1`)
}

/** The keys of a config.json that say a task, in place of those that `json` has. @throws Error without such an end. */
export function taskJson(json: Json, architectures: Architectures, task: Task, labels: number): Json {
  const name = architectures[task]
  if (!name) throw new Error(`task: got ${task}, want one of ${Object.keys(architectures).join(', ')} for this family`)
  const { id2label, label2id, num_labels: _, problem_type: __, ...rest } = json
  if (!isPooled(task)) return { ...rest, architectures: [name] }
  const count = task === 'regression' ? 1 : labels
  const ids = Array.from({ length: count }, (_unused, i) => i)
  const keepsNames = id2label && Object.keys(id2label).length === count
  const names = keepsNames
    ? { id2label, ...(label2id !== undefined && { label2id }) }
    : {
        id2label: Object.fromEntries(ids.map((i) => [i, `LABEL_${i}`])),
        label2id: Object.fromEntries(ids.map((i) => [`LABEL_${i}`, i])),
      }
  const problem = task === 'regression' ? 'regression' : 'single_label_classification'
  return { ...rest, architectures: [name], ...names, problem_type: problem }
}

/** The plans of a family whose checkpoints attend by softmax in every layer. */
export function softmaxPlans(_json: Json, layers: number): AttentionPlan[] {
  return Array(layers).fill({ kind: 'softmax' })
}

/**
 * The attention plans of a config.json.
 * @param usual those of the family's checkpoints, for where it says nothing.
 * @throws Error naming the layer at fault.
 */
export function readPlans(json: Json, layers: number, usual = softmaxPlans): AttentionPlan[] {
  const plans = (json.hedgehog as Json | undefined)?.attention ?? usual(json, layers)
  if (!Array.isArray(plans) || plans.length !== layers) {
    throw new RangeError(`config.json: hedgehog.attention: want a list of ${layers} plans, one per layer`)
  }
  return plans.map((plan, layer) => readPlan(`config.json: hedgehog.attention[${layer}]`, plan))
}

/**
 * A config.json for saving. With an adapter or other attention than its family's it gets names of its own, so that no program misreads it.
 * @param usual as in {@link readPlans}.
 */
export function savedJson(
  { family, task, labels, attention, adapter, json }: ModelConfig,
  architectures: Architectures,
  usual = softmaxPlans,
): Json {
  const { hedgehog: _, ...rest } = taskJson(json, architectures, task, labels)
  const isUsual = JSON.stringify(attention) === JSON.stringify(usual(json, attention.length))
  if (isUsual && !adapter) return { ...rest, model_type: family }
  return {
    ...rest,
    model_type: `hedgehog_${family}`,
    architectures: [`Hedgehog${architectures[task]}`],
    hedgehog: { attention, ...(adapter && { adapter: adapterJson(adapter) }) },
  }
}
