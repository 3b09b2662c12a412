/** GGUF files as model folders: config.json and tokenizer.json are made from the metadata, so that nothing else differs. */

import type { Source } from './files.ts'

/** What a GGUF file stands for beside its tensors; each is made when it is read. */
const made = ['config.json', 'tokenizer.json', 'tokenizer_config.json']

/**
 * A folder with one GGUF file as a model folder: what it lacks of config.json, tokenizer.json and tokenizer_config.json
 * is made from the file.
 */
export function ggufFolder(source: Source, path: string): Source {
  const texts = new Map<string, Promise<Uint8Array>>()
  const make = async (name: string): Promise<Uint8Array> => {
    // Most models are no GGUF files: their reader is loaded for those that are.
    const { ggufJson } = await import('./ggufModel.ts')
    return new TextEncoder().encode(JSON.stringify(await ggufJson(source, path, name)))
  }
  const textOf = async (name: string): Promise<Uint8Array | undefined> => {
    if (!made.includes(name) || (await source.list()).includes(name)) return undefined
    const text = texts.get(name) ?? make(name)
    texts.set(name, text)
    return text
  }
  return {
    name: source.name,
    list: async () => {
      const others = (await source.list()).filter((name) => name === path || made.includes(name))
      return [...new Set([...others, ...made])].sort()
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
