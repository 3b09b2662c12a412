/** Accuracy: how often the likeliest token, or class, is the right one. */

import type { FloatArray, Params } from '../base/array.ts'
import type { Forward } from '../execute/forward.ts'
import type { Batch } from '../execute/objective.ts'
import { labelledRows, rowBlocks, rowsOf } from '../execute/rows.ts'

/** The share of labelled positions whose likeliest token is the label, over batches. @throws RangeError without any. */
export async function tokenAccuracy(forward: Forward, params: Params, batches: Iterable<Batch>): Promise<number> {
  let [right, counted] = [0, 0]
  for (const batch of batches) {
    const picked = labelledRows(await forward.hidden(params, batch), batch.labels)
    for (const rows of rowBlocks(picked.h.shape[0]!)) {
      const likeliest = largest(await forward.logits(params, rowsOf(picked.h, rows)))
      likeliest.forEach((token, i) => {
        const label = picked.labels.data[rows.start + i]!
        if (label < 0) return
        counted += 1
        if (token === label) right += 1
      })
    }
  }
  if (counted === 0) throw new RangeError('tokenAccuracy: got no labels, want at least one position with a label')
  return right / counted
}

/** The number of the largest of each row: (t v) -> t numbers. */
export function largest({ shape, data }: FloatArray): Int32Array {
  const width = shape.at(-1)!
  return Int32Array.from({ length: data.length / width }, (_, row) => {
    let best = row * width
    for (let i = best + 1; i < (row + 1) * width; i++) if (data[i]! > data[best]!) best = i
    return best - row * width
  })
}
