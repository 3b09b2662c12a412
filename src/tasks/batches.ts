/** Labelled examples to batches for an encoder: packed, padded to few lengths, shuffled without end or in order. */

import { type FloatArray, floats, ints, type NDArray } from '../base/array.ts'
import { random } from '../base/random.ts'
import { checkSizes } from './draws.ts'
import type { Example } from './examples.ts'
import type { Pack } from './pack.ts'

/** An example as a model reads it. */
export interface PackedExample {
  /** Token ids with the special ones, in the smallest array type that holds them. */
  readonly ids: Uint8Array | Uint16Array | Int32Array
  /** The type of each token, where the packing has types. */
  readonly types?: Uint8Array
  readonly label: number
}

/** b examples side by side, padded to one length l. */
export interface ExampleBatch {
  /** (b l), int32. */
  readonly ids: NDArray
  /** (b l), 1 for tokens and 0 for padding. */
  readonly keyMask: FloatArray
  /** (b l), int32, where the packing has types. */
  readonly types?: NDArray
  /** (b), int32 for classes, float32 for values. */
  readonly labels: NDArray
}

/** Where a stream of example batches stands; plain JSON. */
export interface ExampleBatchesState {
  readonly epoch: number
  /** Batches of this epoch that were given out. */
  readonly position: number
  /** The number of examples, so that other data is noticed. */
  readonly examples: number
}

/** Batches of examples without end; what a training loop reads. */
export interface ExampleBatches {
  next(): ExampleBatch
  state(): ExampleBatchesState
  /** Goes on where `state` was taken. @throws Error when it is none, or one of other data. */
  restore(state: unknown): void
}

/** How examples become batches. */
export interface BatchingOptions {
  /** Examples a batch. */
  readonly batch: number
  /** The lengths that batches are padded to, ascending. Default: {@link paddedLengths} of the examples. */
  readonly lengths?: readonly number[]
  /** The id that stands in padding; it is masked. Default 0. */
  readonly padding?: number
  /** `classes` are int32 labels, `values` float32. Default `classes`. */
  readonly labels?: 'classes' | 'values'
}

/** Examples with their inputs turned into ids by `encode`, a tokenizer's or that of bytes, and packed. */
export async function packExamples<Input>(
  examples: AsyncIterable<Example<Input>> | Iterable<Example<Input>>,
  encode: (input: Input) => ArrayLike<number>,
  pack: Pack,
): Promise<PackedExample[]> {
  const packed: PackedExample[] = []
  for await (const { input, pair, label } of examples) {
    const { ids, types } = pack(encode(input), pair === undefined ? undefined : encode(pair))
    packed.push({ ids: smallest(ids), ...(types && { types: Uint8Array.from(types) }), label })
  }
  return packed
}

function smallest(ids: ArrayLike<number>): PackedExample['ids'] {
  let most = 0
  for (let i = 0; i < ids.length; i++) most = Math.max(most, ids[i]!)
  return most < 256 ? Uint8Array.from(ids) : most < 65536 ? Uint16Array.from(ids) : Int32Array.from(ids)
}

/**
 * The few lengths that hold all examples with the least padding.
 * @param options.most how many lengths, 4 by default
 * @param options.multiple what lengths are multiples of, 8 by default
 */
export function paddedLengths(
  examples: readonly Pick<PackedExample, 'ids'>[],
  { most = 4, multiple = 8 }: { readonly most?: number; readonly multiple?: number } = {},
): number[] {
  checkSizes('paddedLengths', 1, { most, multiple })
  const counts = new Map<number, number>()
  for (const { ids } of examples) {
    const length = Math.max(1, Math.ceil(ids.length / multiple)) * multiple
    counts.set(length, (counts.get(length) ?? 0) + 1)
  }
  const lengths = [...counts.keys()].sort((a, b) => a - b)
  const upTo = [0]
  for (const [j, length] of lengths.entries()) upTo.push(upTo[j]! + counts.get(length)!)
  // covers[j]: the least padded size of the first j lengths with so many of them chosen, and the chosen ones.
  let covers = lengths.map((length, j) => ({ size: upTo[j + 1]! * length, chosen: [length] }))
  for (let choice = 1; choice < Math.min(most, lengths.length); choice++) {
    covers = covers.map((cover, j) => {
      let best = cover
      for (let i = 0; i < j; i++) {
        const size = covers[i]!.size + (upTo[j + 1]! - upTo[i + 1]!) * lengths[j]!
        if (size < best.size) best = { size, chosen: [...covers[i]!.chosen, lengths[j]!] }
      }
      return best
    })
  }
  return covers.at(-1)?.chosen ?? []
}

/**
 * Shuffled batches of examples without end, all of `batch` examples. An epoch gives each example at most once, and all but
 * fewer than a batch, which are others every time. A batch holds examples of similar length; what does not fill a batch
 * of its length is padded to the next.
 * @param options.seed determines the order
 * @throws RangeError when the examples do not fill one batch, or one is empty or longer than the longest length.
 */
export function exampleBatches(
  examples: readonly PackedExample[],
  options: BatchingOptions & { readonly seed: number },
): ExampleBatches {
  const { batch, seed, lengths = paddedLengths(examples) } = options
  const bucketOf = buckets('exampleBatches', examples, { batch, lengths })
  if (examples.length < batch) {
    throw new RangeError(`exampleBatches: got ${examples.length} examples, want at least ${batch} for one batch`)
  }
  const perEpoch = Math.floor(examples.length / batch)
  let epoch = 0
  let position = 0
  let plan = epochPlan(bucketOf, lengths, batch, seed, epoch)
  return {
    next() {
      if (position === perEpoch) {
        epoch++
        position = 0
        plan = epochPlan(bucketOf, lengths, batch, seed, epoch)
      }
      const { length, members } = plan[position++]!
      return padded(
        members.map((index) => examples[index]!),
        length,
        options,
      )
    },
    state: () => ({ epoch, position, examples: examples.length }),
    restore(state) {
      const saved = checkedState(state, examples.length, perEpoch)
      epoch = saved.epoch
      position = saved.position
      plan = epochPlan(bucketOf, lengths, batch, seed, epoch)
    },
  }
}

/**
 * All examples in order, in batches of which the last may be smaller, each padded to the length that its longest needs.
 * @throws RangeError when there is none, or one is empty or longer than the longest length.
 */
export function heldOutExamples(examples: readonly PackedExample[], options: BatchingOptions): Iterable<ExampleBatch> {
  const { batch, lengths = paddedLengths(examples) } = options
  const bucketOf = buckets('heldOutExamples', examples, { batch, lengths })
  if (examples.length === 0) throw new RangeError('heldOutExamples: got no examples, want at least one')
  return {
    *[Symbol.iterator]() {
      for (let first = 0; first < examples.length; first += batch) {
        const length = lengths[Math.max(...bucketOf.subarray(first, first + batch))]!
        yield padded(examples.slice(first, first + batch), length, options)
      }
    },
  }
}

/** The number of each example's length in `lengths`. */
function buckets(
  where: string,
  examples: readonly PackedExample[],
  { batch, lengths }: { readonly batch: number; readonly lengths: readonly number[] },
): Int32Array {
  checkSizes(where, 1, { batch })
  if (lengths.some((length, i) => !Number.isSafeInteger(length) || length <= (lengths[i - 1] ?? 0))) {
    throw new RangeError(`${where}: got lengths ${lengths.join(', ')}, want whole numbers from 1 in ascending order`)
  }
  return Int32Array.from(examples, ({ ids }, index) => {
    if (ids.length === 0) throw new RangeError(`${where}: got no tokens in example ${index}; pack with a special token`)
    const bucket = lengths.findIndex((length) => ids.length <= length)
    if (bucket >= 0) return bucket
    throw new RangeError(
      `${where}: got ${ids.length} tokens in example ${index}, want at most ${lengths.at(-1)}; pack to a smaller length`,
    )
  })
}

interface Planned {
  readonly length: number
  readonly members: readonly number[]
}

/** The batches of an epoch in random order: lengths fill up in random order of the examples, rests move up a length. */
function epochPlan(
  bucketOf: Int32Array,
  lengths: readonly number[],
  batch: number,
  seed: number,
  epoch: number,
): readonly Planned[] {
  const stream = random(seed).split('examples').split(epoch)
  const members = lengths.map((): number[] => [])
  for (const index of stream.permutation(bucketOf.length)) members[bucketOf[index]!]!.push(index)
  const plan: Planned[] = []
  let rest: number[] = []
  for (const [bucket, length] of lengths.entries()) {
    const all = [...rest, ...members[bucket]!]
    const whole = all.length - (all.length % batch)
    for (let first = 0; first < whole; first += batch) plan.push({ length, members: all.slice(first, first + batch) })
    rest = all.slice(whole)
  }
  return Array.from(stream.permutation(plan.length), (index) => plan[index]!)
}

function padded(rows: readonly PackedExample[], length: number, options: BatchingOptions): ExampleBatch {
  const shape = [rows.length, length]
  const ids = new Int32Array(rows.length * length).fill(options.padding ?? 0)
  const keyMask = new Float32Array(ids.length)
  const types = rows[0]?.types ? new Int32Array(ids.length) : undefined
  for (const [row, example] of rows.entries()) {
    ids.set(example.ids, row * length)
    keyMask.fill(1, row * length, row * length + example.ids.length)
    if (example.types) types?.set(example.types, row * length)
  }
  const labels = rows.map(({ label }) => label)
  return {
    ids: ints(shape, ids),
    keyMask: floats(shape, keyMask),
    ...(types && { types: ints(shape, types) }),
    labels: options.labels === 'values' ? floats([rows.length], labels) : ints([rows.length], labels),
  }
}

function checkedState(state: unknown, examples: number, perEpoch: number): ExampleBatchesState {
  const { epoch, position, examples: saved } = Object(state) as Partial<Record<keyof ExampleBatchesState, unknown>>
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  if (!isCount(epoch) || !isCount(position) || !isCount(saved)) {
    throw new Error(`exampleBatches: got the state ${JSON.stringify(state)}, want one that state() gave`)
  }
  if (saved !== examples || position > perEpoch) {
    throw new Error(
      `exampleBatches: got a state over ${saved} examples at batch ${position}, want ${examples} examples and at most ` +
        `${perEpoch} batches; resume with the data and batch size the run began with`,
    )
  }
  return { epoch, position, examples: saved }
}
