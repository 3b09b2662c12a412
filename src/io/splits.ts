/** Texts of any kind in parts that are trained on, chosen by and reported on. */

import { random } from '../base/random.ts'
import type { Split } from './corpus.ts'

/** Nine tenths to learn from; whole documents where there are enough, else runs of paragraphs or of words. */
export function splitTexts(documents: readonly string[], seed: number): Split<string> {
  const pieces = documents.length >= leastPieces ? documents : documents.flatMap(runsOf)
  const order = random(seed).split('split').permutation(pieces.length)
  const held = Math.max(1, Math.floor(pieces.length / 20))
  const [test, validation] = [new Set(order.subarray(0, held)), new Set(order.subarray(held, 2 * held))]
  return {
    train: pieces.filter((_, i) => !test.has(i) && !validation.has(i)),
    validation: pieces.filter((_, i) => validation.has(i)),
    test: pieces.filter((_, i) => test.has(i)),
  }
}

/** Pieces that a split needs, so that a twentieth is one of them. */
const leastPieces = 20

/** A text in runs of equal number of paragraphs, or of words where it has few paragraphs. */
function runsOf(text: string): string[] {
  const paragraphs = text.split(/(?<=\n)(?=\S)/)
  const parts = paragraphs.length >= 2 * leastPieces ? paragraphs : text.split(/(?<=\s)(?=\S)/)
  const size = Math.max(1, Math.floor(parts.length / (2 * leastPieces)))
  return Array.from({ length: Math.ceil(parts.length / size) }, (_, i) =>
    parts.slice(i * size, (i + 1) * size).join(''),
  )
}
