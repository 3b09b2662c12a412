/** GGUF files as model folders: config.json and tokenizer.json are made from the metadata, so that nothing else differs. */

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

/** What a GGUF file stands for beside its tensors; each is made when it is read. */
const made: Readonly<Record<string, (where: string, file: GgufFile) => Json | Promise<Json>>> = {
  'config.json': (where, file) => architectureOf(where, file).config(where, file),
  'tokenizer.json': ggufTokenizer,
  'tokenizer_config.json': (_where, file) => ggufTokenizerConfig(file),
}

/**
 * A folder with one GGUF file as a model folder: what it lacks of config.json, tokenizer.json and tokenizer_config.json
 * is made from the file.
 */
export function ggufFolder(source: Source, path: string): Source {
  const texts = new Map<string, Promise<Uint8Array>>()
  const make = async (name: string): Promise<Uint8Array> => {
    const file = await openGguf(source, path, { texts: name !== 'config.json' })
    return new TextEncoder().encode(JSON.stringify(await made[name]!(`${source.name}/${path}`, file)))
  }
  const textOf = async (name: string): Promise<Uint8Array | undefined> => {
    if (!Object.hasOwn(made, name) || (await source.list()).includes(name)) return undefined
    const text = texts.get(name) ?? make(name)
    texts.set(name, text)
    return text
  }
  return {
    name: source.name,
    list: async () => {
      const others = (await source.list()).filter((name) => name === path || Object.hasOwn(made, name))
      return [...new Set([...others, ...Object.keys(made)])].sort()
    },
    size: async (name) => (await textOf(name))?.length ?? source.size(name),
    read: async (name, start, end, into) => {
      const text = await textOf(name)
      return text ? text.slice(start, end) : source.read(name, start, end, into)
    },
  }
}

/**
 * A source as a model folder: itself, or where its only weights are a GGUF file, what that file stands for.
 * @throws Error naming the GGUF files when there are several.
 */
export async function modelFolder(source: Source): Promise<Source> {
  const files = await source.list()
  if (files.some((file) => /^(model\.safetensors|pytorch_model\.bin)(\.index\.json)?$/.test(file))) return source
  const path = oneGguf(source.name, files)
  return path === undefined ? source : ggufFolder(source, path)
}

/** The GGUF file among files, if there is one. @throws Error naming them when there are several. */
export function oneGguf(where: string, files: readonly string[]): string | undefined {
  const found = files.filter((file) => file.endsWith('.gguf'))
  if (found.length > 1) throw new Error(`${where}: has several GGUF files, ${found.join(', ')}; name one of them`)
  return found[0]
}

function architectureOf(where: string, { metadata }: GgufFile): Architecture {
  const name = metadata.get('general.architecture')
  if (typeof name === 'string' && Object.hasOwn(architectures, name)) return architectures[name]!
  throw new Error(
    `${where}: general.architecture: got ${show(name)}, want one of ${Object.keys(architectures).join(', ')}`,
  )
}
