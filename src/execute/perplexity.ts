/** Perplexity: how well a model predicts held-out text. */

import type { Params } from '../base/array.ts'
import type { Forward } from './forward.ts'
import type { Batch } from './objective.ts'

/** A mean over tokens. */
export interface Score {
  /** Mean −log p per counted token, in nats. */
  readonly loss: number
  /** exp(loss). */
  readonly perplexity: number
  readonly tokens: number
}

/** The loss of a model over batches, each token counted once; labels below 0 do not count. @throws RangeError without any. */
export async function perplexity(forward: Forward, params: Params, batches: Iterable<Batch>): Promise<Score> {
  let total = 0
  let tokens = 0
  for (const { ids, labels } of batches) {
    const losses = await forward.losses(params, await forward.hidden(params, ids), labels)
    labels.data.forEach((label, i) => {
      if (label < 0) return
      total += losses[i]!
      tokens += 1
    })
  }
  if (tokens === 0)
    throw new RangeError('perplexity: got no tokens to measure on; give more held-out text or a shorter length')
  const loss = total / tokens
  return { loss, perplexity: Math.exp(loss), tokens }
}
