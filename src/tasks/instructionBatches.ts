/**
 * Instruction data to batches. Each row is one example, padded to one of a few lengths: attention over several examples in
 * a row could not be kept apart, and an example would read the one before it.
 */

import { ints } from '../base/array.ts'
import type { TokenBatch } from '../io/batches.ts'
import {
  type BatchingOptions,
  type ExampleBatch,
  type ExampleBatchesState,
  exampleBatches,
  heldOutExamples,
} from './batches.ts'
import { checkSizes } from './draws.ts'
import type { InstructionTokens } from './instruction.ts'

/** Rows of examples: ids, and as labels the tokens that follow, −1 for what is not learned; padding is masked. */
export type InstructionBatch = TokenBatch & Pick<ExampleBatch, 'keyMask'>

/** Batches without end, in an order that the seed and the position alone determine. */
export interface InstructionBatches {
  next(): InstructionBatch
  state(): ExampleBatchesState
  /** Goes on where `state` was taken. @throws Error when it is none, or one of other data. */
  restore(state: unknown): void
}

/** How examples become batches. */
export type InstructionBatching = Pick<BatchingOptions, 'batch' | 'lengths' | 'padding'> & {
  /** The most tokens of a row; of longer examples the end is cut off. */
  readonly length: number
}

/** Examples that fit into rows. */
export interface Fitted {
  readonly examples: readonly InstructionTokens[]
  /** How many of them lost their end. */
  readonly cut: number
  /** How many are left out, since their answers begin past the row. */
  readonly dropped: number
}

/** Cuts examples to rows of `length` tokens, which predict as many; leaves out those without anything to learn. */
export function fitInstructions(examples: readonly InstructionTokens[], length: number): Fitted {
  checkSizes('fitInstructions', 1, { length })
  const most = length + 1
  const kept = examples.filter(({ learned }) => learned.subarray(0, most).includes(1, 1))
  return {
    examples: kept.map(({ ids, learned }) => ({ ids: ids.subarray(0, most), learned: learned.subarray(0, most) })),
    cut: kept.filter(({ ids }) => ids.length > most).length,
    dropped: examples.length - kept.length,
  }
}

/**
 * Shuffled batches without end. An epoch gives each example at most once, and all but fewer than a batch.
 * @param options.seed determines the order
 * @throws RangeError when fewer examples than a batch have an answer within `length`.
 */
export function instructionBatches(
  examples: readonly InstructionTokens[],
  options: InstructionBatching & { readonly seed: number },
): InstructionBatches {
  const rows = rowsOf('instructionBatches', examples, options.length, options.batch)
  const stream = exampleBatches(rows.map(numbered), options)
  return { ...stream, next: () => withLabels(stream.next(), rows) }
}

/** All examples in order, the last batch may have fewer rows. @throws RangeError when none has an answer within `length`. */
export function heldOutInstructions(
  examples: readonly InstructionTokens[],
  options: InstructionBatching,
): Iterable<InstructionBatch> {
  const rows = rowsOf('heldOutInstructions', examples, options.length, 1)
  const batches = heldOutExamples(rows.map(numbered), options)
  return {
    *[Symbol.iterator]() {
      for (const batch of batches) yield withLabels(batch, rows)
    },
  }
}

function rowsOf(where: string, examples: readonly InstructionTokens[], length: number, least: number) {
  const { examples: rows, dropped } = fitInstructions(examples, length)
  if (rows.length >= least) return rows
  throw new RangeError(
    `${where}: got ${rows.length} examples with an answer within ${length} tokens and ${dropped} without, want at least ` +
      `${least}; give more examples, a greater length or a smaller batch`,
  )
}

/** An example whose label is its number, by which the labels of its tokens are found again. */
function numbered({ ids }: InstructionTokens, label: number) {
  return { ids: ids.subarray(0, -1), label }
}

function withLabels({ ids, keyMask, labels: numbers }: ExampleBatch, rows: readonly InstructionTokens[]) {
  const labels = ints(ids.shape)
  labels.data.fill(-1)
  const width = ids.shape[1]!
  numbers.data.forEach((number, row) => {
    const example = rows[number]!
    for (let i = 1; i < example.ids.length; i++) {
      if (example.learned[i]) labels.data[row * width + i - 1] = example.ids[i]!
    }
  })
  return { ids, labels, keyMask }
}
