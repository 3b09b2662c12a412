/** How one sequence or two become the ids that a model reads, with its special tokens and within its length. */

/** A sequence with its special tokens. */
export interface Packed {
  readonly ids: ArrayLike<number>
  /** The type of each token, for models that tell two sequences apart by it. */
  readonly types?: ArrayLike<number>
}

/** Joins one sequence, or two, to what a model reads; shortens them where they are too long. */
export type Pack = (a: ArrayLike<number>, b?: ArrayLike<number>) => Packed

/** Options of {@link packing}. */
export interface PackingOptions {
  /** The most tokens in all, special ones included. */
  readonly maxLength: number
  /** Ids before the first sequence, e.g. that of `[CLS]`. Default: none. */
  readonly before?: readonly number[]
  /** Ids between two sequences, e.g. that of `[SEP]`, or two of `</s>`. Default: none. */
  readonly between?: readonly number[]
  /** Ids after the last sequence. Default: none. */
  readonly after?: readonly number[]
  /** Whether tokens have types: 0 up to and with `between`, 1 from there on. Default false. */
  readonly types?: boolean
}

/**
 * The packing `before a after`, or `before a between b after`. Too long ones lose their ends, the longer of the two first,
 * down to equal lengths; an odd token goes to the longer one, or else to the second (as `longest_first` in Hugging Face's
 * tokenizers).
 * @throws RangeError when the special tokens alone fill `maxLength`.
 */
export function packing(options: PackingOptions): Pack {
  const { maxLength, before = [], between = [], after = [], types = false } = options
  const special = before.length + between.length + after.length
  if (!Number.isSafeInteger(maxLength) || maxLength <= special) {
    throw new RangeError(`packing: got maxLength ${maxLength}, want more than ${special}, the special tokens`)
  }
  return (a, b) => {
    const space = maxLength - special + (b ? 0 : between.length)
    const [first, second] = b ? fitted(a.length, b.length, space) : [Math.min(a.length, space), 0]
    const start = [...before, ...cut(a, first), ...(b ? between : [])]
    const end = [...(b ? cut(b, second) : []), ...after]
    const firstType = b ? start.length : start.length + end.length
    return {
      ids: [...start, ...end],
      ...(types && { types: Array.from({ length: start.length + end.length }, (_, i) => (i < firstType ? 0 : 1)) }),
    }
  }
}

function cut(ids: ArrayLike<number>, length: number): number[] {
  return Array.from({ length }, (_, i) => ids[i]!)
}

/** The lengths that two sequences keep in a space. */
function fitted(a: number, b: number, space: number): [number, number] {
  if (a + b <= space) return [a, b]
  const half = Math.floor(space / 2)
  const odd = space - half
  if (a <= b) return a <= half ? [a, space - a] : [half, odd]
  return b <= half ? [space - b, b] : [odd, half]
}
