/** Language models with all that it takes to write text with them: tokenizer, first and last tokens, chat template. */

import { plainStops, plainTemplate } from '../io/chatPlain.ts'
import { type ChatTemplate, loadChatTemplate } from '../io/chatTemplate.ts'
import type { Source } from '../io/files.ts'
import { loadTokenizer, type Tokenizer } from '../io/tokenizer.ts'
import { type LoadOptions, loadModel, readJson } from './folder.ts'
import type { Json, Model, ModelConfig } from './model.ts'

/** A model with its tokenizer. */
export interface Loaded {
  readonly model: Model
  readonly tokenizer: Tokenizer
}

/** A model that writes: where its texts begin and end, and how it is told a conversation. */
export interface Writing extends Loaded {
  /** Ids that stand before every text; mostly none. */
  readonly beginIds: readonly number[]
  /** Ids that end a text. */
  readonly endIds: readonly number[]
  /** The folder's chat template, else a plain one. */
  readonly template: Pick<ChatTemplate, 'render'>
  /** Texts that end an answer where the template has no token for it. */
  readonly templateStops: readonly string[]
}

/** Reads a language model from its folder. @throws Error naming what is missing or does not fit, into memory too. */
export async function loadLanguage(source: Source, options: Pick<LoadOptions, 'memory'> = {}): Promise<Loaded> {
  const model = await loadModel(source, options)
  return { model, tokenizer: await tokenizerOf(source, model.config) }
}

/** The tokenizer of a language model. @throws Error for a model of another task, or one with too few embeddings. */
export async function tokenizerOf(source: Source, config: ModelConfig): Promise<Tokenizer> {
  if (config.task !== 'language') {
    throw new Error(
      `${source.name}: config.json: the model is for ${config.task}; want one that predicts the next token`,
    )
  }
  const tokenizer = await loadTokenizer(source)
  checkVocabulary(source.name, tokenizer, config)
  return tokenizer
}

/** The same with what it takes to write text. @throws Error as {@link loadLanguage}. */
export async function loadWriting(source: Source, options: Pick<LoadOptions, 'memory'> = {}): Promise<Writing> {
  const loaded = await loadLanguage(source, options)
  const files = await source.list()
  const jsonOf = async (file: string): Promise<Json> => (files.includes(file) ? readJson(source, file) : {})
  const [settings, generation] = [await jsonOf('tokenizer_config.json'), await jsonOf('generation_config.json')]
  const hasTemplate = files.includes('chat_template.jinja') || Boolean(settings.chat_template)
  return {
    ...loaded,
    beginIds: beginIds(loaded, settings),
    endIds: endIds(loaded, generation),
    template: hasTemplate ? await loadChatTemplate(source) : plainTemplate,
    templateStops: hasTemplate ? [] : plainStops,
  }
}

/** @throws Error when a tokenizer has tokens that the model has no embeddings for. */
export function checkVocabulary(where: string, { vocabSize }: Tokenizer, { vocab }: Pick<ModelConfig, 'vocab'>): void {
  if (vocabSize <= vocab) return
  throw new Error(
    `${where}: tokenizer.json has ${vocabSize} tokens, config.json has vocab_size ${vocab}; ` +
      'use the tokenizer that the model was trained with',
  )
}

/** What config.json and generation_config.json say, else the tokenizer, within the vocabulary. */
function endIds({ model, tokenizer }: Loaded, generation: Json): number[] {
  const { json, vocab } = model.config
  const ids = [json.eos_token_id, generation.eos_token_id, tokenizer.endOfText].flat()
  return [...new Set(ids)].filter((id): id is number => typeof id === 'number' && id >= 0 && id < vocab)
}

/** The token that tokenizer_config.json asks for, or that tokenizer.json's template puts first. */
function beginIds({ model, tokenizer }: Loaded, settings: Json): number[] {
  if (settings.add_bos_token === false) return []
  const { json, vocab } = model.config
  const asked = settings.add_bos_token === true ? json.bos_token_id : undefined
  const id = asked ?? templateBegin((tokenizer.json as Json).post_processor)
  return typeof id === 'number' && id >= 0 && id < vocab ? [id] : []
}

/** The id before the text in a `TemplateProcessing`, which may be one of a `Sequence`. */
function templateBegin(processor: unknown): unknown {
  const { type, single, special_tokens: special, processors } = Object(processor) as Json
  if (type === 'Sequence' && Array.isArray(processors))
    return processors.map(templateBegin).find((id) => id !== undefined)
  if (type !== 'TemplateProcessing' || !Array.isArray(single)) return undefined
  const name = Object(single[0]).SpecialToken?.id
  return name === undefined ? undefined : Object(special)[name]?.ids?.[0]
}
