/** Perplexity: how well a model predicts held-out text. */

import type { Params } from '../base/array.ts'
import { Interrupted } from '../base/errors.ts'
import { type Ledger, noted } from '../base/ledger.ts'
import { finish, type Job } from '../base/progress.ts'
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
export function perplexity(forward: Forward, params: Params, batches: readonly Batch[]): Promise<Score> {
  return finish(scoreJob(forward, params, batches, { phase: 'score', clock: () => 0 }))
}

/** Options of {@link scoreJob}. */
export interface ScoreOptions {
  readonly phase: string
  /** Seconds on a steady clock. */
  readonly clock: () => number
  readonly signal?: AbortSignal
  /** Where the losses of each batch are noted. */
  readonly ledger?: Ledger
  /** Is told the loss of each counted token, and its place in its sequence. */
  readonly see?: (loss: number, position: number) => void
}

/** {@link perplexity} with progress. @throws Interrupted when `signal` aborts; Error for a loss that is no number. */
export async function* scoreJob(
  forward: Forward,
  params: Params,
  batches: readonly Batch[],
  { phase, clock, signal, ledger, see }: ScoreOptions,
): Job<Score> {
  const began = clock()
  let total = 0
  let tokens = 0
  for (const [i, batch] of batches.entries()) {
    if (signal?.aborted) throw new Interrupted(`${phase}: stopped after batch ${i} of ${batches.length}`)
    const losses = await noted(ledger, `${phase} batch ${i}`, async () => [
      ...(await forward.losses(params, await forward.hidden(params, batch), batch.labels)),
    ])
    const length = batch.labels.shape.at(-1)!
    batch.labels.data.forEach((label, row) => {
      if (label < 0) return
      total += losses[row]!
      tokens += 1
      see?.(losses[row]!, row % length)
    })
    if (Number.isNaN(total)) throw new Error(`${phase}: batch ${i + 1}: the loss is not a number; check the weights`)
    const metrics = { perplexity: Math.exp(total / tokens) }
    yield { phase, step: i + 1, steps: batches.length, seconds: clock() - began, tokens, metrics }
  }
  if (tokens === 0)
    throw new RangeError('perplexity: got no tokens to measure on; give more held-out text or a shorter length')
  const loss = total / tokens
  return { loss, perplexity: Math.exp(loss), tokens }
}
