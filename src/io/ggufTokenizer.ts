/** The tokenizer of a GGUF file as a Hugging Face `tokenizer.json`. */

import type { GgufFile, GgufValue } from './gguf.ts'
import { show } from './json.ts'

type Json = Readonly<Record<string, unknown>>

/** GPT-2's words; only the last runs of white space differ between libraries, and there bytes are the same. */
const byteLevel: Json = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }

const bytesOnly: Json = { ...byteLevel, use_regex: false }

const sequence = (...pretokenizers: readonly Json[]): Json => ({ type: 'Sequence', pretokenizers })

const split = (Regex: string): Json => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })

const contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"

const wordsWithDigits = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`

const digitByDigit = sequence({ type: 'Digits', individual_digits: true }, byteLevel)

const llama3 = sequence(split(wordsWithDigits('\\p{N}{1,3}')), bytesOnly)

const qwen2 = sequence(split(wordsWithDigits('\\p{N}')), bytesOnly)

/**
 * How text is cut into words, by `tokenizer.ggml.pre`. `default` is what llama.cpp falls back to.
 * Source: the expressions of `llama-vocab.cpp`.
 */
const preTokenizers: Readonly<Record<string, Json>> = {
  'gpt-2': byteLevel,
  olmo: byteLevel,
  smollm: digitByDigit,
  starcoder: digitByDigit,
  refact: digitByDigit,
  'command-r': digitByDigit,
  codeshell: digitByDigit,
  'llama-bpe': llama3,
  llama3,
  'llama-v3': llama3,
  qwen2,
  stablelm2: qwen2,
  default: sequence(
    split('[\\p{P}\\$\\+<=>\\^~\\|]+'),
    split("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"),
    split('\\p{N}+'),
    split('[0-9][0-9][0-9]'),
    bytesOnly,
  ),
}

/** What `tokenizer.ggml.token_type` says of a token, where it matters. */
const [control, userDefined] = [3, 4] as const

/**
 * The `tokenizer.json` of a byte-level BPE vocabulary (`tokenizer.ggml.model` of `gpt2`).
 * @throws Error naming the key that is missing, of another kind, or does not fit the others.
 */
export function ggufTokenizer(where: string, { metadata }: GgufFile): Json {
  const { tokens, merges, types, pre } = checked(where, metadata)
  const vocab = new Map(tokens.map((token, id) => [token, id]))
  if (vocab.size !== tokens.length) {
    const twice = tokens.find((token, id) => vocab.get(token) !== id)
    throw new Error(`${where}: tokenizer.ggml.tokens: has ${show(twice)} twice`)
  }
  const added = tokens.flatMap((content, id) => {
    const special = types[id] === control
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false }
    return special || types[id] === userDefined ? [{ id, content, ...plain, special }] : []
  })
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: pre,
    post_processor: postProcessor(metadata, tokens),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre === llama3,
      vocab: Object.fromEntries(vocab),
      merges,
    },
  }
}

/** The `tokenizer_config.json`: special tokens and the template of a chat. */
export function ggufTokenizerConfig({ metadata }: GgufFile): Json {
  const tokens = metadata.get('tokenizer.ggml.tokens')
  const token = (key: string, id: GgufValue | undefined) => {
    const found = Array.isArray(tokens) && typeof id === 'number' ? tokens[id] : undefined
    return found === undefined ? {} : { [key]: found }
  }
  const template = metadata.get('tokenizer.chat_template')
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    clean_up_tokenization_spaces: false,
    add_bos_token: metadata.get('tokenizer.ggml.add_bos_token') === true,
    ...token('bos_token', metadata.get('tokenizer.ggml.bos_token_id')),
    ...token('eos_token', metadata.get('tokenizer.ggml.eos_token_id')),
    ...token('unk_token', metadata.get('tokenizer.ggml.unknown_token_id')),
    ...token('pad_token', metadata.get('tokenizer.ggml.padding_token_id')),
    ...(typeof template === 'string' && { chat_template: template }),
  }
}

function checked(where: string, metadata: ReadonlyMap<string, GgufValue>) {
  const text = (key: string, otherwise?: string): string => {
    const value = metadata.get(`tokenizer.ggml.${key}`) ?? otherwise
    if (typeof value === 'string') return value
    throw new Error(`${where}: tokenizer.ggml.${key}: got ${show(value)}, want text`)
  }
  const list = (key: string): readonly string[] => {
    const value = metadata.get(`tokenizer.ggml.${key}`)
    if (Array.isArray(value)) return value
    throw new Error(`${where}: tokenizer.ggml.${key}: got ${show(typeof value)}, want a list of text`)
  }
  const model = text('model')
  if (model !== 'gpt2') {
    throw new Error(
      `${where}: tokenizer.ggml.model: got ${show(model)}, want gpt2; put a tokenizer.json beside the file`,
    )
  }
  const name = text('pre', 'default')
  if (!Object.hasOwn(preTokenizers, name)) {
    const known = Object.keys(preTokenizers).join(', ')
    throw new Error(`${where}: tokenizer.ggml.pre: got ${show(name)}, want one of ${known}`)
  }
  const types = metadata.get('tokenizer.ggml.token_type') ?? []
  if (typeof types !== 'object') throw new Error(`${where}: tokenizer.ggml.token_type: want a list of numbers`)
  return { tokens: list('tokens'), merges: list('merges'), types, pre: preTokenizers[name]! }
}

/** Puts the token that begins a text before it, where the model wants one. */
function postProcessor(metadata: ReadonlyMap<string, GgufValue>, tokens: readonly string[]): Json {
  const id = metadata.get('tokenizer.ggml.bos_token_id')
  const token = typeof id === 'number' ? tokens[id] : undefined
  if (metadata.get('tokenizer.ggml.add_bos_token') !== true || token === undefined) return byteLevel
  const [special, text] = [
    { SpecialToken: { id: token, type_id: 0 } },
    (id: string) => ({ Sequence: { id, type_id: 0 } }),
  ]
  const template: Json = {
    type: 'TemplateProcessing',
    single: [special, text('A')],
    pair: [special, text('A'), text('B')],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  }
  return { type: 'Sequence', processors: [byteLevel, template] }
}
