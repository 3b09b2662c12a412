/** What commands share: reading models and text, opening an output folder, versions. */

import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { UsageError } from '../base/errors.ts'
import { random } from '../base/random.ts'
import { documentsOf, type Split } from '../io/corpus.ts'
import type { Sink } from '../io/files.ts'
import { loadTokenizer, type Tokenizer } from '../io/tokenizer.ts'
import { loadModel } from '../models/folder.ts'
import type { Model } from '../models/model.ts'
import { folderSink, folderSource } from '../node/files.ts'

/** A model with its tokenizer. */
export interface Loaded {
  readonly model: Model
  readonly tokenizer: Tokenizer
}

/** Reads a model folder. @throws Error naming what is missing or does not fit. */
export async function openModel(path: string): Promise<Loaded> {
  const source = folderSource(path)
  const model = await loadModel(source)
  const tokenizer = await loadTokenizer(source)
  if (tokenizer.vocabSize > model.config.vocab) {
    throw new Error(
      `${path}: tokenizer.json has ${tokenizer.vocabSize} tokens, config.json has vocab_size ${model.config.vocab}; ` +
        'use the tokenizer that the model was trained with',
    )
  }
  return { model, tokenizer }
}

/** The documents of text files. @throws Error naming a file that is missing, empty or no UTF-8 text. */
export async function readTexts(files: readonly string[]): Promise<string[]> {
  const documents: string[] = []
  for (const file of files) {
    const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
      throw new Error(`${file}: ${error.code === 'ENOENT' ? 'no such file' : `cannot be read: ${error.message}`}`)
    })
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch {
      throw new Error(`${file}: is not UTF-8 text; convert it first`)
    }
    if (text.trim() === '') throw new Error(`${file}: is empty; want text`)
    documents.push(...documentsOf(text))
  }
  return documents
}

/** The documents of --data, --validation and --test; what is not given is split off --data, document by document. */
export async function readSplits(
  options: { readonly data: readonly string[]; readonly validation?: string; readonly test?: string },
  seed: number,
): Promise<Split<string>> {
  const documents = await readTexts(options.data)
  const validation = options.validation ? await readTexts([options.validation]) : undefined
  const test = options.test ? await readTexts([options.test]) : undefined
  if (validation && test) return { train: documents, validation, test }
  const split = splitTexts(documents, seed)
  return { train: split.train, validation: validation ?? split.validation, test: test ?? split.test }
}

/** Nine tenths to learn from; whole documents where there are enough, else runs of paragraphs of the text. */
function splitTexts(documents: readonly string[], seed: number): Split<string> {
  const pieces = documents.length >= 20 ? documents : documents.flatMap((text) => text.split(/(?<=\n)(?=\S)/))
  const order = random(seed).split('split').permutation(pieces.length)
  const held = Math.max(1, Math.floor(pieces.length / 20))
  const [test, validation] = [new Set(order.subarray(0, held)), new Set(order.subarray(held, 2 * held))]
  return {
    train: pieces.filter((_, i) => !test.has(i) && !validation.has(i)),
    validation: pieces.filter((_, i) => validation.has(i)),
    test: pieces.filter((_, i) => test.has(i)),
  }
}

/**
 * A folder for results.
 * @throws UsageError when it has files that are not of an interrupted job and `replace` is off.
 */
export async function openOutput(path: string, options: { replace: boolean; own?: readonly string[] }): Promise<Sink> {
  const found = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw new UsageError(`--out: ${path}: ${error.code === 'ENOTDIR' ? 'is a file, want a folder' : error.message}`)
  })
  const others = found.filter((name) => !options.own?.includes(name))
  if (others.length > 0 && !options.replace) {
    throw new UsageError(
      `--out: ${path} is not empty (${others[0]}); choose another folder, or pass --force to replace its files`,
    )
  }
  return folderSink(path)
}

/** Versions for reports. */
export function versions(): Record<string, string> {
  const load = createRequire(import.meta.url)
  const version = (name: string): string => (load(name) as { version: string }).version
  return {
    hedgehog: version('../../package.json'),
    node: process.versions.node,
    onnxruntime: version('onnxruntime-node/package.json'),
  }
}

/** Seconds on a steady clock. */
export const clock = (): number => performance.now() / 1000
