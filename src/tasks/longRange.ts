/** The tasks of the Long Range Arena, from the files of its release and of the corpora it takes: bytes as tokens. */

import { random } from '../base/random.ts'
import type { Source } from '../io/files.ts'
import { type Classes, type Example, labelOf, type PictureFile } from './examples.ts'
import { at, byteLines, rows, textLines, textOf } from './lines.ts'
import { listOpsTokens } from './listops.ts'

const digits: Classes = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']

/**
 * ListOps of the release, `basic_{train,val,test}.tsv` with the columns Source and Target, as ids of
 * `listOpsVocabulary`. @throws Error naming file and line for what is no expression or value.
 */
export async function* readListOps(source: Source, path: string): AsyncGenerator<Example<Uint8Array>> {
  let isHeader = true
  for await (const { line, fields } of rows(source, path, { delimiter: '\t' })) {
    const where = at(source, path, line)
    const [expression, value] = fields
    if (isHeader) {
      if (expression !== 'Source' || value !== 'Target') {
        throw new Error(`${where}: got the columns ${fields.join(', ').slice(0, 200)}, want Source and Target`)
      }
      isHeader = false
      continue
    }
    if (fields.length !== 2) throw new Error(`${where}: got ${fields.length} columns, want Source and Target`)
    yield { input: listOpsTokens(expression!, where), label: labelOf(value!, digits, where) }
  }
}

/** Reviews of the Large Movie Review Dataset, a file each in a folder `pos` or `neg`, as bytes; label 1 is positive. */
export async function* readReviews(source: Source, files: readonly string[]): AsyncGenerator<Example<Uint8Array>> {
  for (const file of files) yield { input: await source.read(file), label: /(^|\/)pos\/[^/]*$/.test(file) ? 1 : 0 }
}

/**
 * Pairs of papers of the ACL Anthology Network, `new_aan_pairs.{train,eval,test}.tsv` without a header: label, two ids,
 * two texts, as bytes; label 1, or 1.0, when one cites the other. Quotes are plain characters, as in the reference's reader.
 * @throws Error naming file and line for rows of another form.
 */
export async function* readPairs(source: Source, path: string): AsyncGenerator<Example<Uint8Array>> {
  for await (const { number, bytes } of byteLines(source, path)) {
    const line = bytes.at(-1) === 13 ? bytes.subarray(0, -1) : bytes
    if (line.length === 0) continue
    const where = at(source, path, number)
    const fields = fieldsOf(line)
    if (fields.length !== 5) {
      throw new Error(`${where}: got ${fields.length} columns, want 5: label, two ids, two texts`)
    }
    const label = labelOf(textOf(fields[0]!, where).replace(/\.0*$/, ''), ['0', '1'], where)
    yield { input: fields[3]!.slice(), pair: fields[4]!.slice(), label }
  }
}

function fieldsOf(line: Uint8Array): Uint8Array[] {
  const fields: Uint8Array[] = []
  let start = 0
  for (let end = line.indexOf(9); end >= 0; end = line.indexOf(9, start)) {
    fields.push(line.subarray(start, end))
    start = end + 1
  }
  return [...fields, line.subarray(start)]
}

/** Pixels of a picture, whose side is 32 in CIFAR-10 and in Pathfinder. */
const pixels = 32 * 32

const cifarRecord = 1 + 3 * pixels

/** Which part of its files' records a split takes: validation is the last tenth of training. */
const cifarParts = { train: [0, 0.9], validation: [0.9, 1], test: [0, 1] } as const

/** A split of CIFAR-10 here. */
export type CifarSplit = keyof typeof cifarParts

/**
 * Pictures of CIFAR-10's binary version as 1024 grey pixels each, row by row, as tokens 0 … 255.
 * @throws Error naming file and record for sizes or labels that cannot be.
 */
export async function* readCifar(
  source: Source,
  files: readonly string[],
  split: CifarSplit,
): AsyncGenerator<Example<Uint8Array>> {
  const [from, to] = cifarParts[split]
  const counts: number[] = []
  for (const file of files) {
    const size = await source.size(file)
    if (size === 0 || size % cifarRecord !== 0) {
      throw new Error(
        `${source.name}/${file}: got ${size} bytes, want a multiple of ${cifarRecord}, a label and 32×32×3`,
      )
    }
    counts.push(size / cifarRecord)
  }
  const total = counts.reduce((sum, count) => sum + count)
  const [first, end] = [Math.round(total * from), Math.round(total * to)]
  let before = 0
  for (const [i, file] of files.entries()) {
    const [start, stop] = [Math.max(0, first - before), Math.min(counts[i]!, end - before)]
    before += counts[i]!
    if (start >= stop) continue
    const bytes = await source.read(file, start * cifarRecord, stop * cifarRecord)
    for (let record = 0; record < stop - start; record++) {
      const label = bytes[record * cifarRecord]!
      if (label > 9)
        throw new Error(`${source.name}/${file}: got label ${label} of picture ${start + record}, want 0 to 9`)
      yield { input: greyOf(bytes.subarray(record * cifarRecord + 1, (record + 1) * cifarRecord)), label }
    }
  }
}

/** Grey of planes of red, green and blue with the weights of ITU-R BT.601, as the reference's pipeline has it. */
function greyOf(planes: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: pixels }, (_, i) => {
    const grey = 0.2989 * planes[i]! + 0.587 * planes[pixels + i]! + 0.114 * planes[2 * pixels + i]!
    return Math.floor((grey / 255) * 255.5)
  })
}

/** Turns the bytes of a PNG into its grey pixels, row by row. */
export type PngDecoder = (png: Uint8Array) => Uint8Array | Promise<Uint8Array>

/** A split of Pathfinder here: eight, one and one tenth of one random order of all pictures. */
export type PathfinderSplit = 'train' | 'validation' | 'test'

const pathfinderParts: Readonly<Record<PathfinderSplit, readonly [number, number]>> = {
  train: [0, 0.8],
  validation: [0.8, 0.9],
  test: [0.9, 1],
}

/**
 * Pictures of Pathfinder as 1024 grey pixels each, as tokens 0 … 255, from a folder such as
 * `pathfinder32/curv_contour_length_14`. Label 1: both dots are on one path. Files without bytes, of which the release has one, are left out.
 * @param lists the lists of pictures, `metadata/0.npy` and so on, which are texts in spite of their name
 * @param seed of the order that is split, 0 by default
 * @throws Error naming file and line for rows of another form, and the picture that is not 32×32.
 */
export async function* readPathfinder(
  source: Source,
  lists: readonly string[],
  split: PathfinderSplit,
  decode: PngDecoder,
  { seed = 0 }: { readonly seed?: number } = {},
): AsyncGenerator<Example<Uint8Array>> {
  const pictures = await pathfinderList(source, lists)
  const order = random(seed).split('pathfinder').permutation(pictures.length)
  const [from, to] = pathfinderParts[split].map((part) => Math.round(part * pictures.length)) as [number, number]
  for (const index of order.subarray(from, to)) {
    const { file, label } = pictures[index]!
    const png = await source.read(file)
    if (png.length === 0) continue
    const input = await decode(png)
    if (input.length !== pixels) {
      throw new Error(`${source.name}/${file}: got ${input.length} pixels, want ${pixels}, 32×32 of grey`)
    }
    yield { input, label }
  }
}

async function pathfinderList(source: Source, lists: readonly string[]): Promise<PictureFile[]> {
  const numberOf = (file: string) => Number(/(\d*)\.npy$/.exec(file)?.[1])
  const pictures: PictureFile[] = []
  for (const list of lists.toSorted((a, b) => numberOf(a) - numberOf(b))) {
    for await (const [number, line] of textLines(source, list)) {
      const where = at(source, list, number)
      const [folder, name, , label] = line.split(' ')
      if (!folder || !name || label === undefined) {
        throw new Error(`${where}: got ${JSON.stringify(line.slice(0, 80))}, want folder, file, number and label`)
      }
      pictures.push({ file: `${folder}/${name}`, label: labelOf(label, ['0', '1'], where) })
    }
  }
  return pictures
}
