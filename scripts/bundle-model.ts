/**
 * Puts a trained model into models/: weights in float16, tokenizer, and a model card made from its training.json.
 * `node --import tsx scripts/bundle-model.ts runs/tiny models/tiny`
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadTokenizer } from '../src/io/tokenizer.ts'
import { loadModel, saveModel, writeJson } from '../src/models/folder.ts'
import { countParams } from '../src/nn/params.ts'
import { folderSink, folderSource } from '../src/node/files.ts'

interface Training {
  readonly command: string
  readonly seed: number
  readonly seconds: number
  readonly trainTokens: number
  readonly curve: readonly { readonly step: number; readonly loss: number; readonly validationLoss?: number }[]
}

const [from, to] = process.argv.slice(2)
if (!from || !to) throw new Error('bundle-model: want two folders: the trained model and where to put it')
const source = folderSource(from)
const sink = folderSink(to)
const [model, tokenizer] = [await loadModel(source), await loadTokenizer(source)]
const training = JSON.parse(await readFile(join(from, 'training.json'), 'utf8')) as Training
await saveModel(sink, model, { dtype: 'float16', tokenizer: tokenizer.json })
const curve = training.curve.filter(({ validationLoss }) => validationLoss !== undefined)
await writeJson(sink, 'training.json', { ...training, curve })
await sink.write('README.md', [new TextEncoder().encode(card())])

function card(): string {
  const { layers, heads, width, vocab, maxLength } = model.config
  const last = curve.at(-1)
  return `# hedgehog tiny

A small English language model in the GPT-2 architecture, so that hedgehog can be tried without a download.

| | |
|---|---|
| layers × heads × width | ${layers} × ${heads} × ${width} |
| positions | ${maxLength} |
| vocabulary | ${vocab}, byte-level BPE learned on the training text |
| parameters | ${countParams(model.params).toLocaleString('en')}, stored in float16 |
| training text | ${training.trainTokens.toLocaleString('en')} tokens, see docs/data.md |
| held-out loss | ${last?.validationLoss?.toFixed(4)} nats per token on Brown documents that were not trained on |
| training time | ${Math.round(training.seconds / 60)} minutes on 2 CPU cores, seed ${training.seed} |
| licence of the weights | MIT; the texts' licences are in docs/data.md |

Made with

\`\`\`
node --import tsx scripts/prepare-text.ts
node --import tsx scripts/train-tokenizer.ts --data .cache/text/train.txt --vocab ${vocab} --out .cache/tiny/tokenizer.json
${training.command}
node --import tsx scripts/bundle-model.ts ${from} ${to}
\`\`\`

It continues text in the manner of its corpora; it knows no facts worth relying on and repeats what its texts,
written between 1790 and 2006, say about people.

| step | training loss | held-out loss |
|---|---|---|
${curve.map(({ step, loss, validationLoss }) => `| ${step} | ${loss.toFixed(3)} | ${validationLoss!.toFixed(3)} |`).join('\n')}
`
}
