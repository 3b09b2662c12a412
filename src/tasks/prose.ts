/** Labelled texts made of a corpus with categories: a classification that is there wherever the corpus is. */

import type { CorpusDocument, Split } from '../io/corpus.ts'
import type { Example } from './examples.ts'

/** Categories of the Brown corpus that are fiction, its imaginative prose; all others inform. */
export const fictionCategories: readonly string[] = [
  'fiction',
  'mystery',
  'science_fiction',
  'adventure',
  'romance',
  'humor',
]

/** Words of a piece where none are chosen. */
const pieceWords = 40

/**
 * Pieces of documents with class 1 where they are fiction, else 0. Parts of a split stay apart, so no document is in two.
 * @param words in a piece, 40 by default; what is left over at a document's end is left out, unless it is all there is
 */
export function proseKinds(documents: Split<CorpusDocument>, words = pieceWords): Split<Example> {
  return eachPart(documents, (part) =>
    piecesOf(part, words).map(({ text, category }) => ({ input: text, label: isFiction(category) ? 1 : 0 })),
  )
}

/**
 * What is asked of a pair: are both of one document (1 or 0); are they of one document, of one kind, or of different kinds (0, 1, 2);
 * or how many of their words are the same, 0 to 5.
 */
export type PairQuestion = 'document' | 'relation' | 'overlap'

/** Pairs of pieces: every piece once with its successor in the document, and once with a piece of another document. */
export function prosePairs(
  documents: Split<CorpusDocument>,
  question: PairQuestion,
  words = pieceWords / 2,
): Split<Example> {
  return eachPart(documents, (part) => {
    const pieces = piecesOf(part, words)
    return pieces.flatMap((piece, i) => {
      const next = pieces[(i + 1) % pieces.length]!
      const other = pieces[(i + Math.floor(pieces.length / 2)) % pieces.length]!
      const pairs = [...(next.name === piece.name ? [next] : []), ...(other.name === piece.name ? [] : [other])]
      return pairs.map((pair) => ({ input: piece.text, pair: pair.text, label: answers[question](piece, pair) }))
    })
  })
}

const answers: Readonly<Record<PairQuestion, (a: Piece, b: Piece) => number>> = {
  document: (a, b) => (a.name === b.name ? 1 : 0),
  relation: (a, b) => (a.name === b.name ? 0 : isFiction(a.category) === isFiction(b.category) ? 1 : 2),
  overlap(a, b) {
    const [first, second] = [a, b].map(({ text }) => new Set(text.toLowerCase().split(' '))) as [
      Set<string>,
      Set<string>,
    ]
    const common = [...first].filter((word) => second.has(word)).length
    return (5 * common) / Math.max(first.size, second.size)
  },
}

interface Piece {
  readonly name: string
  readonly category: string
  readonly text: string
}

function isFiction(category: string): boolean {
  return fictionCategories.includes(category)
}

function piecesOf(documents: readonly CorpusDocument[], words: number): Piece[] {
  return documents.flatMap(({ name, category, text }) => {
    const all = text.split(/\s+/).filter(Boolean)
    const count = Math.max(1, Math.floor(all.length / words))
    return Array.from({ length: count }, (_, i) => {
      return { name, category, text: all.slice(i * words, (i + 1) * words).join(' ') }
    })
  })
}

function eachPart<A, B>(parts: Split<A>, make: (part: readonly A[]) => readonly B[]): Split<B> {
  return { train: make(parts.train), validation: make(parts.validation), test: make(parts.test) }
}
