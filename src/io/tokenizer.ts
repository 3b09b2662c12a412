/** Text to token ids and back, from a checkpoint's `tokenizer.json`. */

import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { wordPattern } from './byteLevel.ts'
import type { Source } from './files.ts'
import { isObject, parseJson, readWhole, show } from './json.ts'

/** A tokenizer. No special token is added to a text; those written in it, such as `<|endoftext|>`, are one id each. */
export interface Tokenizer {
  /** The ids of a text. */
  encode(text: string): Int32Array
  /** The text of ids, special tokens included; incomplete UTF-8 becomes U+FFFD. @throws RangeError for an unknown id. */
  decode(ids: Iterable<number>): string
  /** One more than the largest id. */
  readonly vocabSize: number
  /** The id that ends a document, where the vocabulary has one. */
  readonly endOfText?: number
  /** What `tokenizer.json` holds, to be written into another checkpoint. */
  readonly json: object
}

/** Tokens that end a document in common vocabularies, the first found is taken. */
const endTokens = ['<|endoftext|>', '<|end_of_text|>', '</s>', '<eos>', '[SEP]']

/**
 * The tokenizer of a folder, from its `tokenizer.json`.
 * @throws Error with one line that names the file when it is missing or is not a tokenizer.
 */
export async function loadTokenizer(source: Source): Promise<Tokenizer> {
  const where = `${source.name}/tokenizer.json`
  return tokenizerFrom(parseJson(where, await readWhole(source, 'tokenizer.json')), where)
}

/**
 * A tokenizer from what a `tokenizer.json` holds.
 * @param where for messages: where it is from
 * @throws Error when it is not a tokenizer that the tokenizers library knows.
 */
export function tokenizerFrom(json: unknown, where = 'tokenizer'): Tokenizer {
  const parts = checked(json, where)
  let inner: HuggingFaceTokenizer
  let vocab: ReadonlyMap<string, number>
  try {
    inner = new HuggingFaceTokenizer(parts, { clean_up_tokenization_spaces: false })
    vocab = inner.get_vocab()
    inner.encode('a')
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    throw new Error(`${where}: is not a tokenizer that can be used: ${reason}`, { cause: error })
  }
  const vocabSize = [...vocab.values()].reduce((most, id) => Math.max(most, id), -1) + 1
  const endOfText = endTokens.flatMap((token) => inner.token_to_id(token) ?? [])[0]
  const slow = (text: string) => checkedIds(inner.encode(text, { add_special_tokens: false }).ids, where)
  return {
    encode: isPlainByteLevel(parts) ? cachedEncode(slow, parts) : (text) => Int32Array.from(slow(text)),
    decode: (ids) => decode(inner, Array.from(ids), where),
    vocabSize,
    ...(endOfText === undefined ? {} : { endOfText }),
    json: parts,
  }
}

function decode(inner: HuggingFaceTokenizer, ids: number[], where: string): string {
  for (const id of ids) {
    if (inner.id_to_token(id) === undefined) throw new RangeError(`${where}: decode: got id ${id}, want one it has`)
  }
  return ids.length === 0 ? '' : inner.decode(ids, { skip_special_tokens: false, clean_up_tokenization_spaces: false })
}

interface Parts {
  readonly model: { readonly type?: unknown; readonly vocab: object }
  readonly added_tokens: readonly AddedToken[]
  readonly normalizer?: unknown
  readonly pre_tokenizer?: { readonly [key: string]: unknown } | null
}

interface AddedToken {
  readonly content: string
  readonly [flag: string]: unknown
}

const mostIds = 2 ** 24

const isId = (id: unknown): boolean => Number.isInteger(id) && Number(id) >= 0 && Number(id) < mostIds

/** What is wrong with the merges of a BPE model, if anything: each joins two tokens of the vocabulary to a third. */
function badMerge({ merges, vocab, continuing_subword_prefix: prefix }: Record<string, unknown>): string | undefined {
  if (!Array.isArray(merges)) return 'no list'
  const isKnown = (token: string) => Object.hasOwn(vocab as object, token)
  const skipped = typeof prefix === 'string' ? prefix.length : 0
  for (const merge of merges) {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    const isPair = Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === 'string')
    if (!isPair) return `${show(merge)}, which is no pair`
    const [left, right] = pair as [string, string]
    if (![left, right, left + right.slice(skipped)].every(isKnown))
      return `${show(merge)}, which is not of the vocabulary`
  }
  return undefined
}

const models: readonly unknown[] = ['BPE', 'Unigram', 'WordPiece']

function checked(json: unknown, where: string): Parts {
  const wrong = (what: string) => new Error(`${where}: ${what}, want a Hugging Face tokenizer`)
  if (!isObject(json)) throw wrong('is not a JSON object')
  const { model, added_tokens: added = [] } = json
  if (!isObject(model) || typeof model.vocab !== 'object' || model.vocab === null) throw wrong('has no model.vocab')
  if (model.type !== undefined && !models.includes(model.type)) throw wrong(`has model.type ${String(model.type)}`)
  if (Object.keys(model.vocab).length === 0) throw wrong('has an empty model.vocab')
  const ids = Array.isArray(model.vocab) ? [] : Object.values(model.vocab)
  if (!ids.every(isId)) throw wrong(`has an id in model.vocab that is no integer in [0, ${mostIds})`)
  const isScored = (entry: unknown) => Array.isArray(entry) && typeof entry[0] === 'string' && Number.isFinite(entry[1])
  if (Array.isArray(model.vocab) && !model.vocab.every(isScored)) throw wrong('has a bad entry in model.vocab')
  const merge = model.type === 'BPE' || model.merges !== undefined ? badMerge(model) : undefined
  if (merge) throw wrong(`has ${merge} in model.merges`)
  const isToken = (token: unknown) =>
    isObject(token) && typeof token.content === 'string' && token.content !== '' && isId(token.id)
  if (!Array.isArray(added) || !added.every(isToken)) throw wrong('has a bad list added_tokens')
  const none = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null }
  return { ...none, ...json, model: model as Parts['model'] & object, added_tokens: added as AddedToken[] }
}

function checkedIds(ids: readonly (number | undefined)[], where: string): number[] {
  const bad = ids.indexOf(undefined)
  if (bad >= 0)
    throw new Error(`${where}: the text's token ${bad} is not in the vocabulary, and it has no unknown token`)
  return ids as number[]
}

/** Whether text may be cut into GPT-2's words, each of which then has the same ids wherever it stands. */
function isPlainByteLevel({ model, pre_tokenizer: pre, normalizer, added_tokens: added }: Parts): boolean {
  const words = pre?.type === 'ByteLevel' && pre.use_regex !== false && pre.add_prefix_space !== true
  return words && model.type === 'BPE' && !normalizer && !added.some((token) => token.lstrip || token.rstrip)
}

const cacheSize = 2 ** 18

/** The ids of a text word by word; each word is looked up in the tokenizer once. */
function cachedEncode(slow: (text: string) => number[], { added_tokens: added }: Parts): (text: string) => Int32Array {
  const known = new Map<string, readonly number[]>()
  const contents = added.map((token) => token.content).sort((a, b) => b.length - a.length)
  const special = contents.length > 0 ? new RegExp(`(${contents.map(escaped).join('|')})`, 'u') : undefined
  const idsOf = (word: string): readonly number[] => {
    let ids = known.get(word)
    if (ids === undefined) {
      ids = slow(word)
      if (known.size >= cacheSize) known.clear()
      known.set(word, ids)
    }
    return ids
  }
  return (text) => {
    const ids: number[] = []
    for (const [i, part] of (special ? text.split(special) : [text]).entries()) {
      const words = i % 2 === 1 ? [part] : (part.match(wordPattern) ?? [])
      for (const word of words) for (const id of idsOf(word)) ids.push(id)
    }
    return Int32Array.from(ids)
  }
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
}
