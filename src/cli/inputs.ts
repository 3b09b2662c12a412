/** What commands share: reading models and text, opening an output folder, versions. */

import { access, constants, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { documentsOf, type Split } from '../io/corpus.ts'
import type { Sink } from '../io/files.ts'
import { splitTexts } from '../io/splits.ts'
import { folderSink, folderSource } from '../node/files.ts'

export type { Loaded } from '../models/writing.ts'
export { openModel } from '../node/models.ts'

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
 * Checks a folder for results; it is made by {@link makeFolder}.
 * @throws UsageError when it has files that are not of an interrupted job and `replace` is off.
 */
export async function openOutput(
  path: string,
  options: { replace: boolean; own?: readonly string[]; resumes?: boolean },
): Promise<Sink> {
  const found = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw new UsageError(`--out: ${path}: ${error.code === 'ENOTDIR' ? 'is a file, want a folder' : error.message}`)
  })
  // What an ended process left half-written begins with a dot.
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

/**
 * Writes the files of a result together: an older result in the folder stays whole until all of the new one is on disk.
 * @throws Error naming the file that could not be written; then nothing has changed.
 */
export async function writeTogether(path: string, write: (sink: Sink) => Promise<void>): Promise<void> {
  const beside = join(path, '.new')
  try {
    await rm(beside, { recursive: true, force: true })
    await write(folderSink(beside))
    for (const file of await folderSource(beside).list()) {
      await mkdir(dirname(join(path, file)), { recursive: true })
      await rename(join(beside, file), join(path, file))
    }
  } finally {
    await rm(beside, { recursive: true, force: true })
  }
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
