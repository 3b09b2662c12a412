/** Answers to many prompts, always the likeliest token: what a model is compared by with answers that are wanted. */

import { Interrupted } from '../base/errors.ts'
import type { Job } from '../base/progress.ts'
import { createBatch } from './batch.ts'
import { checkRoom } from './generate.ts'
import type { Generator } from './state.ts'

/** Options of {@link answerJob}. */
export interface AnswerOptions {
  /** The most tokens of an answer. */
  readonly maxTokens: number
  /** Tokens that end an answer, and are no part of it. */
  readonly stop: readonly number[]
  /** For messages: what each prompt is called; default by its number. */
  readonly names?: readonly string[]
  /** Prompts that are answered at once; default 16. */
  readonly batch?: number
  readonly phase: string
  /** Seconds on a steady clock. */
  readonly clock: () => number
  readonly signal?: AbortSignal
}

/**
 * Answers each prompt; the answers are in the order of the prompts.
 * @throws RangeError before any work when a prompt is empty or leaves no room; Interrupted when `signal` aborts.
 */
export async function* answerJob(
  generator: Generator,
  prompts: readonly ArrayLike<number>[],
  { maxTokens, stop, names, batch: most = 16, phase, clock, signal }: AnswerOptions,
): Job<number[][]> {
  for (const [i, { length }] of prompts.entries()) {
    checkRoom(names?.[i] ?? `${phase}: prompt ${i + 1}`, generator.limit, 0, length, maxTokens)
  }
  const began = clock()
  const batch = createBatch(generator, { most })
  const found: number[][] = []
  let tokens = 0
  try {
    // As many ahead as are written at once: each takes its place in the queue when it is asked for.
    const ask = (prompt: ArrayLike<number>) => batch.write({ prompt, temperature: 0, maxTokens, stop })
    const asked = prompts.slice(0, most).map(ask)
    for (let i = 0; i < prompts.length; i++) {
      const ids: number[] = []
      for await (const { id } of asked[i]!) {
        if (signal?.aborted) throw new Interrupted(`${phase}: stopped after prompt ${i} of ${prompts.length}`)
        ids.push(id)
      }
      if (i + most < prompts.length) asked.push(ask(prompts[i + most]!))
      found.push(ids)
      tokens += ids.length
      yield { phase, step: i + 1, steps: prompts.length, seconds: clock() - began, tokens }
    }
  } finally {
    await batch.close()
  }
  return found
}
