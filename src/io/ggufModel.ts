/** GGUF files as models: tensors by Hugging Face names, and the files that their metadata stands for. */

import type { Source } from './files.ts'
import { type GgufFile, openGguf } from './gguf.ts'
import { llamaCheckpoint, llamaConfig } from './ggufLlama.ts'
import { ggufTokenizer, ggufTokenizerConfig } from './ggufTokenizer.ts'
import { show } from './json.ts'
import type { Checkpoint } from './tensors.ts'

type Json = Readonly<Record<string, unknown>>

/** An architecture of GGUF files: its tensors by Hugging Face names, and its config.json. */
interface Architecture {
  checkpoint(where: string, file: GgufFile): Checkpoint
  config(where: string, file: GgufFile): Promise<Json>
}

/** By `general.architecture`; Mistral's models call themselves llama too. */
const architectures: Readonly<Record<string, Architecture>> = {
  llama: { checkpoint: llamaCheckpoint, config: llamaConfig },
}

/**
 * The tensors of a GGUF file by their Hugging Face names.
 * @throws Error as `openGguf`, and when its architecture is none of those in the table.
 */
export async function openGgufModel(source: Source, path: string): Promise<Checkpoint> {
  const file = await openGguf(source, path, { texts: false })
  const where = `${source.name}/${path}`
  return architectureOf(where, file).checkpoint(where, file)
}

/** What a GGUF file stands for beside its tensors. */
const made: Readonly<Record<string, (where: string, file: GgufFile) => Json | Promise<Json>>> = {
  'config.json': (where, file) => architectureOf(where, file).config(where, file),
  'tokenizer.json': ggufTokenizer,
  'tokenizer_config.json': (_where, file) => ggufTokenizerConfig(file),
}

/** The content of one of the files that a GGUF file stands for: config.json, tokenizer.json, tokenizer_config.json. */
export async function ggufJson(source: Source, path: string, name: string): Promise<Json> {
  const file = await openGguf(source, path, { texts: name !== 'config.json' })
  return made[name]!(`${source.name}/${path}`, file)
}

function architectureOf(where: string, { metadata }: GgufFile): Architecture {
  const name = metadata.get('general.architecture')
  if (typeof name === 'string' && Object.hasOwn(architectures, name)) return architectures[name]!
  throw new Error(
    `${where}: general.architecture: got ${show(name)}, want one of ${Object.keys(architectures).join(', ')}`,
  )
}
