/** Trains a byte-level BPE tokenizer, as GPT-2's, and writes it as a Hugging Face `tokenizer.json`. */

import { alphabet, byteLetters, wordPattern } from './byteLevel.ts'
import { PairHeap } from './pairHeap.ts'

/** The parts of a byte-level `tokenizer.json`; Hugging Face's libraries load it as it is. */
export interface BpeJson {
  readonly version: '1.0'
  readonly truncation: null
  readonly padding: null
  readonly added_tokens: readonly { readonly id: number; readonly content: string; readonly special: boolean }[]
  readonly normalizer: null
  readonly pre_tokenizer: object
  readonly post_processor: object
  readonly decoder: object
  readonly model: {
    readonly type: 'BPE'
    readonly vocab: Readonly<Record<string, number>>
    readonly merges: readonly string[]
  }
}

/**
 * Learns merges from texts: the pair of tokens that is seen most, again and again (arXiv 1508.07909).
 * Ids are GPT-2's order: 256 bytes, the merges, the special tokens last. Equal counts go to the smaller pair of ids.
 * @param texts training texts; special tokens in them separate words and are not learned
 * @param options.vocabSize number of ids in all, at least 256 and the special tokens
 * @param options.specialTokens `['<|endoftext|>']` by default
 * @throws RangeError when the size is too small, or larger than what the text gives.
 */
export function trainBpe(
  texts: Iterable<string>,
  { vocabSize, specialTokens = ['<|endoftext|>'] }: { vocabSize: number; specialTokens?: readonly string[] },
): BpeJson {
  const least = 256 + specialTokens.length
  if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > 2 ** 20) {
    throw new RangeError(`trainBpe: got vocabSize ${vocabSize}, want an integer in [${least}, 1048576]`)
  }
  const words = bytesOfWords(countWords(texts, specialTokens))
  const { merges, tokens } = learnMerges(words, vocabSize - specialTokens.length)
  const most = tokens.length + specialTokens.length
  if (most < vocabSize) {
    throw new RangeError(
      `trainBpe: got text for ${most} tokens, want ${vocabSize}; give more text or vocabSize ${most}`,
    )
  }
  return tokenizerJson(merges, tokens, specialTokens)
}

interface Word {
  ids: number[]
  readonly count: number
}

function countWords(texts: Iterable<string>, specialTokens: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const text of texts) {
    let parts = [text]
    for (const token of specialTokens) parts = parts.flatMap((part) => part.split(token))
    for (const part of parts) {
      for (const word of part.match(wordPattern) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1)
    }
  }
  return counts
}

function bytesOfWords(counts: ReadonlyMap<string, number>): Word[] {
  const encoder = new TextEncoder()
  const idOf = byteLetters.map((letter) => alphabet.indexOf(letter))
  return [...counts].map(([word, count]) => ({ ids: Array.from(encoder.encode(word), (byte) => idOf[byte]!), count }))
}

/** A pair of ids as one number, ordered as the pair is; ids are below 2^20. */
const pairKey = (left: number, right: number) => left * 2 ** 20 + right
const leftOf = (key: number) => Math.floor(key / 2 ** 20)
const rightOf = (key: number) => key % 2 ** 20

/**
 * The merges in order, as pairs of ids, and all tokens by id.
 * Two merges can make the same token, which then has one id. Only the words that hold the merged pair are counted anew.
 * Every pair whose count has risen is put on the heap again, so a stale entry is dropped or put back with what it became.
 */
function learnMerges(words: readonly Word[], size: number): { merges: number[]; tokens: string[] } {
  const tokens = [...alphabet]
  const idOf = new Map(tokens.map((token, id) => [token, id]))
  const counts: PairCounts = { totals: new Map(), places: new Map(), raised: new Set() }
  for (const [index, word] of words.entries()) countPairs(word, index, 1, counts)
  const heap = new PairHeap()
  const merges: number[] = []
  while (tokens.length < size) {
    for (const key of counts.raised) heap.push(counts.totals.get(key) ?? 0, key)
    counts.raised.clear()
    const top = nextPair(heap, counts)
    if (top === undefined) break
    const token = tokens[leftOf(top)]! + tokens[rightOf(top)]!
    const made = idOf.get(token) ?? tokens.length
    if (made === tokens.length) tokens.push(token)
    idOf.set(token, made)
    merges.push(top)
    for (const index of [...counts.places.get(top)!]) {
      const word = words[index]!
      countPairs(word, index, -1, counts)
      word.ids = mergeIn(word.ids, top, made)
      countPairs(word, index, 1, counts, made)
    }
  }
  return { merges, tokens }
}

function nextPair(heap: PairHeap, { totals }: PairCounts): number | undefined {
  for (let top = heap.pop(); top; top = heap.pop()) {
    const total = totals.get(top.key) ?? 0
    if (total === top.count && total > 0) return top.key
    if (total > 0) heap.push(total, top.key)
  }
  return undefined
}

interface PairCounts {
  /** How often each pair is seen. */
  readonly totals: Map<number, number>
  /** The words that hold each pair. */
  readonly places: Map<number, Set<number>>
  /** Pairs that may be seen more often than the heap knows. */
  readonly raised: Set<number>
}

/** Adds (or takes away) the pairs of a word; when one token was made, only pairs with it can have risen. */
function countPairs({ ids, count }: Word, index: number, sign: 1 | -1, counts: PairCounts, made?: number): void {
  const { totals, places, raised } = counts
  for (let i = 1; i < ids.length; i++) {
    const left = ids[i - 1]!
    const right = ids[i]!
    const key = pairKey(left, right)
    const total = (totals.get(key) ?? 0) + sign * count
    if (total === 0) totals.delete(key)
    else totals.set(key, total)
    if (sign > 0) {
      const where = places.get(key)
      if (where) where.add(index)
      else places.set(key, new Set([index]))
      if (made === undefined || left === made || right === made) raised.add(key)
    } else places.get(key)?.delete(index)
  }
}

function mergeIn(ids: readonly number[], key: number, made: number): number[] {
  const left = leftOf(key)
  const right = rightOf(key)
  const merged: number[] = []
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && ids[i + 1] === right) {
      merged.push(made)
      i++
    } else merged.push(ids[i]!)
  }
  return merged
}

function tokenizerJson(
  merges: readonly number[],
  tokens: readonly string[],
  specialTokens: readonly string[],
): BpeJson {
  const names = merges.map((key) => `${tokens[leftOf(key)]} ${tokens[rightOf(key)]}`)
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const all = [...tokens, ...specialTokens]
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, i) => ({ id: tokens.length + i, content, ...flags })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(all.map((token, id) => [token, id])),
      merges: names,
    } as BpeJson['model'],
  }
}
