/** What a dataset is: facts about a release, and a reader that says which of its files is missing. */

import type { Source } from '../io/files.ts'
import type { Dialogue } from './corpora.ts'
import type { Classes, Example, PictureFile } from './examples.ts'
import type { PngDecoder } from './longRange.ts'

/** What a reader gives, by the kind of the dataset. */
export interface Readings {
  /** Texts, or pairs of them, with a class; or with a value, where there are no classes. */
  readonly texts: Example
  /** Token ids below 256, or pairs of such sequences, with a class. */
  readonly tokens: Example<Uint8Array>
  /** Documents of running text. */
  readonly documents: string
  readonly dialogues: Dialogue
  /** Pictures on disk with a class. */
  readonly pictures: PictureFile
}

/** Facts about a dataset. */
export interface DatasetFacts<Kind extends keyof Readings = keyof Readings> {
  readonly kind: Kind
  /** What is to be found out, in a few words. */
  readonly about: string
  /** The folder that is to be given as the source: its path in the release. */
  readonly folder: string
  /** By split: the files it is read from, paths in that folder; `*` stands for a name or a part of one. */
  readonly splits: Readonly<Record<string, readonly string[]>>
  /** Where the release is to be had, or the command that makes it. */
  readonly url: string
  readonly licence: string
  /** The names of the classes where they are few; empty where labels are values, or there are none. */
  readonly classes: Classes
  /** One more than the largest token id, where inputs are tokens. */
  readonly vocab?: number
}

/** A dataset of a kind. */
export interface Dataset<Kind extends keyof Readings = keyof Readings> extends DatasetFacts<Kind> {
  /**
   * The examples of a split, in the order of the files.
   * @throws Error that names the missing file and where to get it, or file and line of what is wrong in one; RangeError
   * for a split that it does not have.
   */
  read(source: Source, split: string, options?: ReadOptions): AsyncGenerator<Readings[Kind]>
}

/** What a dataset may need besides its files. */
export interface ReadOptions {
  /** For datasets of PNG pictures: their decoder. */
  readonly decode?: PngDecoder
}

/** What a reader is given: the files of a split, all of which exist. */
export interface Opening {
  readonly source: Source
  readonly split: string
  /** Paths in the order of the split's patterns. */
  readonly files: readonly string[]
  /** All files of the source, where a pattern of the split has a `*`. */
  readonly listing: readonly string[]
  readonly options: ReadOptions
}

/** A dataset from facts and a reader, which is only called once its files are found. */
export function dataset<Kind extends keyof Readings>(
  facts: DatasetFacts<Kind>,
  open: (opening: Opening) => AsyncGenerator<Readings[Kind]>,
): Dataset<Kind> {
  return {
    ...facts,
    async *read(source, split, options = {}) {
      const patterns = Object.hasOwn(facts.splits, split) ? facts.splits[split]! : undefined
      if (!patterns) {
        throw new RangeError(`split: got ${split}, want one of ${Object.keys(facts.splits).join(', ')}`)
      }
      yield* open({ source, split, options, ...(await filesOf(facts, source, patterns)) })
    },
  }
}

async function filesOf({ url, folder }: DatasetFacts, source: Source, patterns: readonly string[]) {
  const listing = patterns.some((pattern) => pattern.includes('*')) ? await source.list().catch(() => []) : []
  const files: string[] = []
  for (const pattern of patterns) {
    const matches = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`)
    const isPlain = !pattern.includes('*')
    const found = isPlain ? [pattern] : listing.filter((file) => matches.test(file))
    if (found.length === 0 || (isPlain && !(await hasFile(source, pattern)))) {
      throw new Error(`${source.name}: has no file ${pattern}; want the folder ${folder} of ${url}`)
    }
    files.push(...found)
  }
  return { files, listing }
}

/** Whether a source has a file. @throws Error when it has, but its size cannot be found out. */
export async function hasFile(source: Source, path: string): Promise<boolean> {
  try {
    await source.size(path)
    return true
  } catch (error) {
    const files: readonly string[] = await source.list().catch(() => [])
    if (files.includes(path)) throw error
    return false
  }
}
