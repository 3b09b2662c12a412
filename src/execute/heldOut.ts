/** The loss of a model on held-out batches, whatever its task: what training curves are validated by. */

import type { FloatArray, NDArray, Params } from '../base/array.ts'
import type { ModelConfig } from '../models/model.ts'
import { isLanguage } from '../models/task.ts'
import type { Forward } from './forward.ts'
import type { Batch } from './objective.ts'
import { perplexity } from './perplexity.ts'

/**
 * The mean loss of the labels that count: −log p of tokens or classes in nats, or the squared error of a regression.
 * @throws RangeError when no label counts.
 */
export async function heldOutLoss(
  forward: Forward,
  { task }: Pick<ModelConfig, 'task'>,
  params: Params,
  batches: Iterable<Batch>,
): Promise<number> {
  if (isLanguage(task)) return (await perplexity(forward, params, [...batches])).loss
  let [total, count] = [0, 0]
  for (const batch of batches) {
    for (const loss of sequenceLosses(task, await forward.classify(params, batch), batch.labels)) {
      total += loss
      count += 1
    }
  }
  if (count > 0) return total / count
  throw new RangeError('heldOutLoss: got no labels that count; give more held-out examples')
}

/** The loss of each sequence whose label counts, from logits (b c). */
function sequenceLosses(task: ModelConfig['task'], logits: FloatArray, labels: NDArray): number[] {
  const [rows, classes] = logits.shape as [number, number]
  const losses: number[] = []
  for (let row = 0; row < rows; row++) {
    const own = logits.data.subarray(row * classes, (row + 1) * classes)
    const label = labels.data[row]!
    if (task === 'regression') losses.push((own[0]! - label) ** 2)
    else if (label >= 0) losses.push(logSumExp(own) - own[label]!)
  }
  return losses
}

function logSumExp(values: Float32Array): number {
  const top = values.reduce((most, value) => Math.max(most, value), -Infinity)
  return top + Math.log(values.reduce((sum, value) => sum + Math.exp(value - top), 0))
}
