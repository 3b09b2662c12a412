/** `hedgehog data preview`: what a model would read of instruction data, and which tokens of it would be learned. */

import { basename, dirname } from 'node:path'
import { Interrupted } from '../../base/errors.ts'
import type { Job } from '../../base/progress.ts'
import { type ChatTemplate, loadChatTemplate } from '../../io/chatTemplate.ts'
import type { Source } from '../../io/files.ts'
import { loadTokenizer, type Tokenizer } from '../../io/tokenizer.ts'
import { loadConfig } from '../../models/folder.ts'
import { folderSource } from '../../node/files.ts'
import { openSource } from '../../node/source.ts'
import { collected } from '../../tasks/examples.ts'
import {
  encodeInstruction,
  type InstructionFormat,
  type InstructionLine,
  type InstructionTokens,
  readInstructions,
} from '../../tasks/instruction.ts'
import type { Context, Run } from '../command.ts'
import { clock } from '../inputs.ts'
import type { dataPreviewOptions } from '../optionTables.ts'
import { tokenLines } from '../tokenView.ts'

/** What `--json` prints of the whole file, beside the shown examples. */
interface Summary {
  readonly file: string
  readonly model: string
  readonly examples: number
  readonly tokens: number
  readonly learned: number
  /** Tokens of the longest example, and how many are longer than the model's positions. */
  readonly longest: number
  readonly tooLong: number
}

/** An example with its line. */
type Encoded = InstructionTokens & { readonly line: number }

export const run: Run<typeof dataPreviewOptions, 'file'> = async (context, { file }, options) => {
  const { model, count = 3, answers = 'all', date } = options
  const folder = await context.run(openSource(model))
  const tokenizer = await loadTokenizer(folder)
  const { maxLength } = await loadConfig(folder)
  const lines = await collected(readInstructions(folderSource(dirname(file)), basename(file)))
  if (lines.length === 0) throw new Error(`${file}: is empty, want JSON lines`)
  const template = await templateFor(lines, folder)
  const format = { tokenizer, answers, ...(template && { template }), ...(date && { date }) }
  const all = await context.run(encodeAll(lines, format, context.signal))
  const counted = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0)
  const summary: Summary = {
    file,
    model,
    examples: all.length,
    tokens: counted(all.map(({ ids }) => ids.length)),
    learned: counted(all.map(({ learned }) => counted([...learned]))),
    longest: all.reduce((most, { ids }) => Math.max(most, ids.length), 0),
    tooLong: all.filter(({ ids }) => ids.length - 1 > maxLength).length,
  }
  const shown = all.slice(0, count)
  return {
    value: {
      ...summary,
      shown: shown.map((example) => ({ line: example.line, tokens: tokensOf(example, tokenizer) })),
    },
    text: [...shown.map((example) => drawn(file, example, tokenizer, context)), inWords(summary, maxLength)].join('\n'),
  }
}

/** The model's template, where there is a conversation. */
async function templateFor(lines: readonly InstructionLine[], folder: Source): Promise<ChatTemplate | undefined> {
  return lines.some(({ instruction }) => 'messages' in instruction) ? loadChatTemplate(folder) : undefined
}

async function* encodeAll(
  lines: readonly InstructionLine[],
  format: InstructionFormat,
  signal: AbortSignal,
): Job<Encoded[]> {
  const began = clock()
  const found: Encoded[] = []
  for (const { line, where, instruction } of lines) {
    if (signal.aborted) throw new Interrupted(`encode: stopped after ${found.length} of ${lines.length} examples`)
    found.push({ line, ...encodeInstruction(instruction, format, where) })
    if (found.length % 100 === 0 || found.length === lines.length) {
      yield { phase: 'encode', step: found.length, steps: lines.length, seconds: clock() - began }
    }
  }
  return found
}

function tokensOf({ ids, learned }: Encoded, { decode }: Tokenizer) {
  return Array.from(ids, (id, i) => ({ id, text: decode([id]), learned: learned[i] === 1 }))
}

function drawn(file: string, example: Encoded, tokenizer: Tokenizer, { columns, colours }: Context): string {
  const tokens = tokensOf(example, tokenizer)
  const learned = tokens.filter((token) => token.learned).length
  const head = `${file}:${example.line}: ${tokens.length} tokens, ${learned} learned`
  return [head, ...tokenLines(tokens, { columns, colours }), ''].join('\n')
}

function inWords({ examples, tokens, learned, longest, tooLong }: Summary, maxLength: number): string {
  const share = ((100 * learned) / tokens).toFixed(0)
  const counts = `${examples} examples, ${tokens} tokens, ${learned} learned (${share} %), longest ${longest}`
  return tooLong > 0 ? `${counts}\n${tooLong} longer than the model's ${maxLength} positions` : counts
}
