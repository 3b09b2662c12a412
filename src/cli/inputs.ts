/** What commands share: reading models and text, opening an output folder, versions. */

import { access, constants, mkdir, readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname } from 'node:path'
import { digestOf } from '../base/digest.ts'
import { UsageError } from '../base/errors.ts'
import { documentsOf, type Split } from '../io/corpus.ts'
import type { Sink } from '../io/files.ts'
import { splitTexts } from '../io/splits.ts'
import { folderSink, folderSource } from '../node/files.ts'
import { tidyFolder } from '../node/together.ts'

export type { Loaded } from '../models/writing.ts'
export { openModel } from '../node/models.ts'
export { writeTogether } from '../node/together.ts'

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

/**
 * Checks a folder for results, and tidies up what an ended process left in it; it is made by {@link makeFolder}.
 * @throws UsageError when it has files that are not of an interrupted job and `replace` is off.
 */
export async function openOutput(
  path: string,
  options: { replace: boolean; own?: readonly string[]; resumes?: boolean },
): Promise<Sink> {
  await tidyFolder(path)
  const found = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw new UsageError(`--out: ${path}: ${error.code === 'ENOTDIR' ? 'is a file, want a folder' : error.message}`)
  })
  // What begins with a dot is no result.
  const others = found.filter((name) => !name.startsWith('.') && !options.own?.includes(name))
  if (others.length > 0 && !options.replace) {
    const resume = options.resumes === false ? '' : ' pass --resume to go on with an interrupted job,'
    throw new UsageError(
      `--out: ${path} is not empty (${others[0]}); choose another folder,${resume} or --force to replace its files`,
    )
  }
  return folderSink(path)
}

/** Makes a folder that can be written to, before a long job begins. @throws Error naming it. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
    await access(path, constants.W_OK)
  } catch (error) {
    throw new Error(`${path}: cannot be written to: ${(error as Error).message}`, { cause: error })
  }
}

/** A digest of what files hold, whatever they are called: a job is not gone on with on other data. */
export async function filesDigest(files: readonly string[]): Promise<string> {
  const digests: string[] = []
  for (const file of files) {
    const source = folderSource(dirname(file))
    const size = await source.size(basename(file))
    for (let start = 0; start < size; start += digestedBytes) {
      digests.push(digestOf([await source.read(basename(file), start, Math.min(size, start + digestedBytes))]))
    }
    digests.push(String(size))
  }
  return digestOf(digests)
}

/** Bytes that are in memory at a time. */
const digestedBytes = 2 ** 26

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
