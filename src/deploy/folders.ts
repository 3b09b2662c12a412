/** The files beside an exported graph: config.json, tokenizer and chat template, as each target's readers look for them. */

import { readWhole } from '../io/json.ts'
import { familyOf } from '../models/families.ts'
import { readJson, writeJson } from '../models/folder.ts'
import type { Json, ModelConfig } from '../models/model.ts'
import type { ExportJob } from './target.ts'

/** Writes tokenizer.json and its settings, generation_config.json, and what else of a source is about text. */
export async function writeTextFiles({ source, sink, tokenizer, model }: ExportJob): Promise<void> {
  const there = new Set(await source.list())
  const jsonOf = async (file: string): Promise<Json> => (there.has(file) ? readJson(source, file) : {})
  await writeJson(sink, 'tokenizer.json', tokenizer.json)
  // The end of a text fills up shorter ones beside longer: it is masked.
  const end = tokenizer.endOfText === undefined ? undefined : tokenizer.decode([tokenizer.endOfText])
  const usual = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    padding_side: 'left',
    clean_up_tokenization_spaces: false,
    ...(end !== undefined && { eos_token: end, pad_token: end }),
  }
  await writeJson(sink, 'tokenizer_config.json', { ...usual, ...(await jsonOf('tokenizer_config.json')) })
  const ends = tokenizer.endOfText === undefined ? {} : { eos_token_id: tokenizer.endOfText }
  const given = pick(model.config.json, ['bos_token_id', 'eos_token_id', 'pad_token_id'])
  await writeJson(sink, 'generation_config.json', { ...ends, ...given, ...(await jsonOf('generation_config.json')) })
  const template = 'chat_template.jinja'
  if (there.has(template)) await sink.write(template, [await readWhole(source, template)])
}

/** The config.json that @huggingface/transformers loads a decoder with recurrent states by. */
export function transformersConfig(config: ModelConfig, file: string, dtype: string, dataFiles: number): Json {
  const { layers, heads, headDim, width, inner, vocab, maxLength, attention, json } = config
  const types = attention.map(({ kind }) =>
    kind === 'softmax' || kind === 'window' ? 'full_attention' : 'linear_attention',
  )
  return {
    model_type: 'qwen3_next',
    architectures: ['Qwen3NextForCausalLM'],
    // A layer after the last keeps nothing: the length of its cache says how many positions were read.
    num_hidden_layers: layers + 1,
    layer_types: [...types, 'full_attention'],
    hidden_size: width,
    intermediate_size: inner,
    num_attention_heads: heads,
    num_key_value_heads: heads,
    head_dim: headDim,
    vocab_size: vocab,
    max_position_embeddings: maxLength,
    ...pick(json, ['bos_token_id', 'eos_token_id', 'pad_token_id', 'tie_word_embeddings']),
    'transformers.js_config': { dtype, use_external_data_format: { [file]: dataFiles } },
    hedgehog: { family: config.family, attention },
  }
}

/** The config.json of the model itself. */
export function modelConfigJson(config: ModelConfig): Json {
  return familyOf(config).writeConfig(config)
}

function pick(json: Json, keys: readonly string[]): Json {
  return Object.fromEntries(keys.flatMap((key) => (json[key] == null ? [] : [[key, json[key]]])))
}
