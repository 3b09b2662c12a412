/** Predictions: what a classifier, or a regression, says of labelled sequences. */

import type { Params } from '../base/array.ts'
import { Interrupted } from '../base/errors.ts'
import { type Ledger, noted } from '../base/ledger.ts'
import type { Job } from '../base/progress.ts'
import type { Forward } from '../execute/forward.ts'
import type { Batch } from '../execute/objective.ts'
import type { Task } from '../models/model.ts'
import { largest } from './accuracy.ts'

/** A prediction for each sequence beside its label: classes, or numbers of a regression. */
export interface Predictions {
  readonly predictions: readonly number[]
  readonly labels: readonly number[]
}

/** Options of {@link predictJob}. */
export interface PredictOptions {
  readonly phase: string
  /** Seconds on a steady clock. */
  readonly clock: () => number
  readonly signal?: AbortSignal
  /** Where the predictions of each batch are noted. */
  readonly ledger?: Ledger
}

/** Predicts batches of sequences. @throws Interrupted when `signal` aborts; TypeError for a model of another task. */
export async function* predictJob(
  forward: Forward,
  { config, params }: { readonly config: { readonly task: Task }; readonly params: Params },
  batches: Iterable<Batch>,
  { phase, clock, signal, ledger }: PredictOptions,
): Job<Predictions> {
  const began = clock()
  const all = [...batches]
  const [predictions, labels]: [number[], number[]] = [[], []]
  for (const [i, batch] of all.entries()) {
    if (signal?.aborted) throw new Interrupted(`${phase}: stopped after batch ${i} of ${all.length}`)
    const found = await noted(ledger, `${phase} batch ${i}`, async () => {
      const logits = await forward.classify(params, batch)
      return config.task === 'regression' ? [...logits.data] : largest(logits)
    })
    predictions.push(...found)
    for (const label of batch.labels.data) labels.push(label)
    yield { phase, step: i + 1, steps: all.length, seconds: clock() - began }
  }
  return { predictions, labels }
}
