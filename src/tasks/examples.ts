/** The one shape of labelled examples, and how the labels written in files become numbers. */

/** An input with its label. Inputs are texts, or token ids below 256 as bytes. */
export interface Example<Input = string> {
  readonly input: Input
  /** The second of a pair, where the task compares two. */
  readonly pair?: Input
  /** The number of the class, from 0, or the value to be predicted; −1 where the release keeps it secret. */
  readonly label: number
}

/** A picture on disk, not yet decoded. */
export interface PictureFile {
  /** Its path in the source. */
  readonly file: string
  /** The number of its class. */
  readonly label: number
}

/** A table of classes: the names that files may write for class 0, 1, …; empty where labels are values. */
export type Classes = readonly string[]

/**
 * The label that a file writes: a class's name or number, or a number where there are no classes.
 * @param where for messages: file and line
 * @throws Error when it is neither.
 */
export function labelOf(text: string, classes: Classes, where: string): number {
  const named = classes.indexOf(text)
  if (named >= 0) return named
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (classes.length === 0 && Number.isFinite(value)) return value
  if (Number.isInteger(value) && value >= 0 && value < classes.length) return value
  throw new Error(`${where}: got the label ${JSON.stringify(text)}, want ${wanted(classes)}`)
}

function wanted(classes: Classes): string {
  if (classes.length === 0) return 'a number'
  return `one of ${classes.join(', ')}${/^\d+$/.test(classes[0]!) ? '' : `, or 0 to ${classes.length - 1}`}`
}

/** All of an asynchronous sequence, or its first `most`. */
export async function collected<T>(
  items: AsyncIterable<T> | Iterable<T>,
  most = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const found: T[] = []
  if (most <= 0) return found
  for await (const item of items) {
    found.push(item)
    if (found.length >= most) break
  }
  return found
}
