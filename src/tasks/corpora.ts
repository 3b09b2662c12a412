/** Releases that are no tables of labels: WikiText's documents, SAMSum's dialogues, ImageNet's folders of pictures. */

import type { Source } from '../io/files.ts'
import type { PictureFile } from './examples.ts'
import { byteLines, textOf } from './lines.ts'

/**
 * The documents of a WikiText file, such as `wiki.train.tokens` or `wiki.train.raw`, as they stand there: put together
 * they are the file. A document begins with a title, ` = Title = ` between two blank lines; in running text there are
 * lines of that form, but not between blank ones.
 * @throws Error naming file and line where it is not UTF-8.
 */
export async function* wikiDocuments(source: Source, path: string): AsyncGenerator<string> {
  let document: string[] = []
  let title = -1
  for await (const { number, bytes } of byteLines(source, path)) {
    const line = `${textOf(bytes, `${source.name}/${path}:${number}`)}\n`
    const isBlank = line.trim() === ''
    if (title >= 0 && isBlank) {
      const before = document.slice(0, title)
      if (before.some((text) => text.trim() !== '')) {
        yield before.join('')
        document = document.slice(title)
      }
    }
    const previous = document.at(-1)
    const isTitle = /^ ?= (?!= ).*(?<! =) = ?\r?\n$/.test(line) && (previous === undefined || previous.trim() === '')
    title = isTitle ? document.length : -1
    document.push(line)
  }
  if (document.some((text) => text.trim() !== '')) yield document.join('')
}

/**
 * WikiText as it is printed: `@-@` within words undone, no spaces before marks and within brackets and quotes, headings
 * without their signs. `<unk>` remains, since what it stood for is lost.
 */
export function plainWiki(text: string): string {
  return text.split('\n').map(plainLine).join('\n')
}

function plainLine(line: string): string {
  let isOpen = false
  return line
    .trim()
    .replace(/^(?:= )+(.*?)(?: =)+$/, '$1')
    .replace(/ @([-,.])@ /g, '$1')
    .replace(/ ?" ?/g, (quote) => {
      isOpen = !isOpen
      return isOpen ? quote.replace(/" $/, '"') : quote.replace(/^ "/, '"')
    })
    .replace(/ ([,.;:!?%)\]}])/g, '$1')
    .replace(/([([{]) /g, '$1')
    .replace(/ ('(?:s|m|d|re|ve|ll)|n't)\b/g, '$1')
    .replace(/s ' /g, "s' ")
}

/** A dialogue with its summary. */
export interface Dialogue {
  readonly id: string
  /** One utterance a line: `Amanda: I baked cookies.` */
  readonly dialogue: string
  readonly summary: string
}

/**
 * The dialogues of a SAMSum file, `train.json`, `val.json` or `test.json`: a list of id, dialogue and summary.
 * @throws Error naming file and entry for what is not of that form.
 */
export async function* readDialogues(source: Source, path: string): AsyncGenerator<Dialogue> {
  const where = `${source.name}/${path}`
  let entries: unknown
  try {
    entries = JSON.parse(textOf(await source.read(path), where))
  } catch (error) {
    if (error instanceof SyntaxError) throw new Error(`${where}: is not JSON: ${error.message}`)
    throw error
  }
  if (!Array.isArray(entries)) throw new Error(`${where}: got no list, want one of id, dialogue and summary`)
  for (const [index, entry] of entries.entries()) {
    const textIn = (key: string): string => {
      const value: unknown = Object(entry)[key]
      if (typeof value === 'string') return value.replace(/\r\n?/g, '\n')
      throw new Error(`${where}: entry ${index}: got ${key}: ${JSON.stringify(value) ?? 'nothing'}, want a text`)
    }
    yield { id: textIn('id'), dialogue: textIn('dialogue'), summary: textIn('summary') }
  }
}

/**
 * The pictures of a split of ImageNet-1K, `n01440764/….JPEG` in the folder of the split. Classes are numbered by the sorted
 * names of all synset folders, those of the other split too, as is customary.
 * @param files those of the split
 * @param listing those of all splits
 */
export async function* readPictures(files: readonly string[], listing: readonly string[]): AsyncGenerator<PictureFile> {
  const synsetOf = (file: string) => file.split('/').at(-2) ?? ''
  const synsets = new Set(listing.filter((file) => /\.jpe?g$/i.test(file)).map(synsetOf))
  const numbers = new Map([...synsets].sort().map((synset, number) => [synset, number]))
  for (const file of files) yield { file, label: numbers.get(synsetOf(file))! }
}
