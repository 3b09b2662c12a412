/**
 * ROUGE: how much of a reference text is found in a written one (C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of
 * Summaries", 2004). Words, counts and ties are those of the Python package rouge_score 0.1.2, to the last digit.
 */

import { porterStem } from './porter.ts'

/** Shares of what two texts have in common, each in [0, 1]; 0 where a text has no words. */
export interface Overlap {
  /** Of the written text. */
  readonly precision: number
  /** Of the reference. */
  readonly recall: number
  /** The harmonic mean of both. */
  readonly f: number
}

/** Options of all ROUGE scores. */
export interface RougeOptions {
  /** Compare stems (Porter) of words of more than three letters, so that houses is house. Default false. */
  readonly stem?: boolean
}

/** The words that ROUGE compares: runs of a–z and 0–9 of the text in lower case; letters of other scripts are no words. */
export function rougeWords(text: string, { stem = false }: RougeOptions = {}): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? []
  return stem ? words.map((word) => (word.length > 3 ? porterStem(word) : word)) : [...words]
}

/** ROUGE-N: runs of n words in common, each as often as in the text that has fewer. @param n from 1 */
export function rougeN(n: number, text: string, reference: string, options?: RougeOptions): Overlap {
  if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`rougeN: got n ${n}, want a whole number from 1`)
  const [written, wanted] = [runs(rougeWords(text, options), n), runs(rougeWords(reference, options), n)]
  const left = countsOf(wanted)
  return overlap(written.filter((run) => take(left, run)).length, written.length, wanted.length)
}

/** ROUGE-L: the longest common subsequence of words. */
export function rougeL(text: string, reference: string, options?: RougeOptions): Overlap {
  const [written, wanted] = [rougeWords(text, options), rougeWords(reference, options)]
  return overlap(commonLength(wanted, written), written.length, wanted.length)
}

/**
 * ROUGE-Lsum: for each line of the reference, the union of its longest common subsequences with all lines of the text; no
 * word counts more often than in either text. Texts of several sentences have one on each line.
 */
export function rougeLsum(text: string, reference: string, options?: RougeOptions): Overlap {
  const [written, wanted] = [text, reference].map((whole) => whole.split('\n').map((line) => rougeWords(line, options)))
  const [leftWritten, leftWanted] = [countsOf(written!.flat()), countsOf(wanted!.flat())]
  let hits = 0
  for (const line of wanted!) {
    const union = new Set(written!.flatMap((other) => commonIndices(line, other)))
    for (const index of [...union].sort((a, b) => a - b)) {
      const word = line[index]!
      if (!leftWritten.get(word) || !leftWanted.get(word)) continue
      take(leftWritten, word)
      take(leftWanted, word)
      hits += 1
    }
  }
  return overlap(hits, written!.flat().length, wanted!.flat().length)
}

function overlap(common: number, written: number, wanted: number): Overlap {
  const [precision, recall] = [common / Math.max(1, written), common / Math.max(1, wanted)]
  return { precision, recall, f: common > 0 ? (2 * precision * recall) / (precision + recall) : 0 }
}

/** All runs of n words; a word has no space, so that a run is known by its text. */
function runs(words: readonly string[], n: number): string[] {
  return Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(' '))
}

function countsOf(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1)
  return counts
}

/** Takes one of an item away; false when none is left. */
function take(counts: Map<string, number>, item: string): boolean {
  const left = counts.get(item) ?? 0
  if (left > 0) counts.set(item, left - 1)
  return left > 0
}

/** The length of the longest common subsequence, in memory of one line of the table. */
function commonLength(a: readonly string[], b: readonly string[]): number {
  const row = new Uint32Array(b.length + 1)
  for (const word of a) {
    let diagonal = 0
    for (let j = 1; j <= b.length; j++) {
      const above = row[j]!
      row[j] = word === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1]!)
      diagonal = above
    }
  }
  return row[b.length]!
}

/** Where in `a` the words of a longest common subsequence stand; of several the one that rouge_score finds. */
function commonIndices(a: readonly string[], b: readonly string[]): number[] {
  const width = b.length + 1
  const table = new Uint32Array((a.length + 1) * width)
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const at = i * width + j
      table[at] = a[i - 1] === b[j - 1] ? table[at - width - 1]! + 1 : Math.max(table[at - width]!, table[at - 1]!)
    }
  }
  const found: number[] = []
  for (let [i, j] = [a.length, b.length]; i > 0 && j > 0; ) {
    const at = i * width + j
    if (a[i - 1] === b[j - 1]) {
      found.push(i - 1)
      i -= 1
      j -= 1
    } else if (table[at - 1]! > table[at - width]!) j -= 1
    else i -= 1
  }
  return found
}
