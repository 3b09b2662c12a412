/** The eight tasks of GLUE that the paper reports, from the tab-separated files of the official archives. */

import type { Source } from '../io/files.ts'
import { type Classes, type Example, labelOf } from './examples.ts'
import { at, type Row, rows, textLines } from './lines.ts'

/** Where a task's texts and labels stand. Columns are found by their names, since splits order them differently. */
export interface GlueLayout {
  readonly text: string
  readonly pair?: string
  readonly label: string
  /** Class names, which files write as names or numbers; none for values. Numbered as in Hugging Face's `glue`. */
  readonly classes: Classes
  /** The columns of files without a header: CoLA's, but for its test split. */
  readonly headless?: readonly string[]
  /** Rows with too few columns are left out, as the official processor does. */
  readonly skipsShort?: boolean
}

const entailment: Classes = ['entailment', 'not_entailment']
const sentences = { text: 'sentence1', pair: 'sentence2', label: 'label' }
const mnli: GlueLayout = { ...sentences, label: 'gold_label', classes: ['entailment', 'neutral', 'contradiction'] }

/** The layouts by the name of the task. */
export const glueLayouts = {
  cola: {
    text: 'sentence',
    label: 'label',
    classes: ['unacceptable', 'acceptable'],
    headless: ['source', 'label', 'star', 'sentence'],
  },
  sst2: { text: 'sentence', label: 'label', classes: ['negative', 'positive'] },
  mrpc: { text: '#1 String', pair: '#2 String', label: 'Quality', classes: ['not_equivalent', 'equivalent'] },
  stsb: { ...sentences, label: 'score', classes: [] },
  qqp: {
    text: 'question1',
    pair: 'question2',
    label: 'is_duplicate',
    classes: ['not_duplicate', 'duplicate'],
    skipsShort: true,
  },
  mnli,
  qnli: { text: 'question', pair: 'sentence', label: 'label', classes: entailment },
  rte: { ...sentences, classes: entailment },
} as const satisfies Readonly<Record<string, GlueLayout>>

/**
 * The examples of a GLUE file; labels are −1 where the file has none. Quotes are plain characters, as for the official
 * processors.
 * @throws Error naming file and line for a missing column or a label that is none.
 */
export async function* readGlue(source: Source, path: string, layout: GlueLayout): AsyncGenerator<Example> {
  const isTest = /(^|\/)(test|msr_paraphrase_test)[^/]*$/.test(path)
  let names: readonly string[] | undefined = isTest ? undefined : layout.headless
  for await (const row of rows(source, path, { delimiter: '\t', quotes: false })) {
    if (names) {
      if (layout.skipsShort && row.fields.length < names.length) continue
      yield exampleOf(row, names, layout, isTest, at(source, path, row.line))
    } else {
      names = row.fields
      checkColumns(names, columnsOf(layout, isTest), at(source, path, row.line))
    }
  }
}

function columnsOf({ text, pair, label }: GlueLayout, isTest: boolean): string[] {
  return [text, ...(pair ? [pair] : []), ...(isTest ? [] : [label])]
}

function checkColumns(names: readonly string[], wanted: readonly string[], where: string): void {
  const missing = wanted.find((column) => !names.includes(column))
  if (missing === undefined) return
  throw new Error(`${where}: got the columns ${names.join(', ').slice(0, 200)}, want ${missing} among them`)
}

function exampleOf(
  { fields }: Row,
  names: readonly string[],
  { text, pair, label, classes }: GlueLayout,
  isTest: boolean,
  where: string,
): Example {
  const cell = (column: string): string => {
    const value = fields[names.indexOf(column)]
    if (value !== undefined) return value
    throw new Error(`${where}: got ${fields.length} columns, want ${names.length}: ${names.join(', ')}`)
  }
  // The test file of MRPC comes with its labels where it is the original one; GLUE keeps all of them secret.
  return {
    input: cell(text),
    ...(pair && { pair: cell(pair) }),
    label: isTest ? -1 : labelOf(cell(label), classes, where),
  }
}

const idColumns = ['#1 ID', '#2 ID']

/**
 * Training or development examples of MRPC from the original corpus and GLUE's list of development pairs, for where
 * `train.tsv` and `dev.tsv` were not made of them.
 * @throws Error as {@link readGlue}.
 */
export async function* readMrpc(source: Source, split: 'train' | 'dev'): AsyncGenerator<Example> {
  const held = new Set<string>()
  for await (const [, line] of textLines(source, 'mrpc_dev_ids.tsv')) held.add(line.trim())
  const path = 'msr_paraphrase_train.txt'
  let names: readonly string[] | undefined
  for await (const row of rows(source, path, { delimiter: '\t', quotes: false })) {
    const where = at(source, path, row.line)
    if (!names) {
      names = row.fields
      checkColumns(names, [...idColumns, ...columnsOf(glueLayouts.mrpc, false)], where)
      continue
    }
    const ids = idColumns.map((name) => row.fields[names!.indexOf(name)]).join('\t')
    if (held.has(ids) === (split === 'dev')) yield exampleOf(row, names, glueLayouts.mrpc, false, where)
  }
}
