/** What `hedgehog eval --metric` measures, by what the metrics need: losses of tokens, answers, or labels. */

import { basename, dirname } from 'node:path'
import { UsageError } from '../base/errors.ts'
import type { Ledger } from '../base/ledger.ts'
import type { Job } from '../base/progress.ts'
import { predictJob } from '../evaluate/predictions.ts'
import { createForward } from '../execute/forward.ts'
import { scoreJob } from '../execute/perplexity.ts'
import { type AnswerOptions, answerJob } from '../generate/answers.ts'
import { createGenerator, type Generator } from '../generate/state.ts'
import { encodeDocuments, heldOut } from '../io/batches.ts'
import { loadChatTemplate } from '../io/chatTemplate.ts'
import type { Source } from '../io/files.ts'
import { textBytes } from '../io/textBytes.ts'
import { loadTokenizer } from '../io/tokenizer.ts'
import type { MetricInputs } from '../metrics/metrics.ts'
import { loadModel } from '../models/folder.ts'
import type { ModelConfig } from '../models/model.ts'
import { checkVocabulary } from '../models/writing.ts'
import { openDevice } from '../node/device.ts'
import { folderSource } from '../node/files.ts'
import { freeMemory } from '../node/freeMemory.ts'
import { openModel, openWriting } from '../node/models.ts'
import { heldOutExamples, packExamples } from '../tasks/batches.ts'
import { collected, type Example } from '../tasks/examples.ts'
import { questionOf, readInstructions } from '../tasks/instruction.ts'
import { readTable } from '../tasks/tables.ts'
import { packingOf } from '../tasks/tokenizerPack.ts'
import type { Context } from './command.ts'
import { clock, readTexts } from './inputs.ts'
import type { BegunJob } from './job.ts'
import type { Values } from './options.ts'
import type { evalOptions } from './optionTables.ts'

/** Values of the options of `hedgehog eval`. */
export type EvalOptions = Values<typeof evalOptions>

/** What metrics are measured on, and what else is worth to be told of it. */
export interface Evaluated<Need extends keyof MetricInputs = keyof MetricInputs> {
  readonly input: MetricInputs[Need]
  /** How much was measured, and what was written. */
  readonly facts: Readonly<Record<string, unknown>>
  /** The same in words. */
  readonly on: string
}

/** A model that is about to be measured. */
export interface Measurable {
  /** What it was called by. */
  readonly name: string
  readonly folder: Source
  readonly config: ModelConfig
  /** Where finished parts are noted, where the evaluation has a folder. */
  readonly job?: BegunJob
}

type Evaluation<Need extends keyof MetricInputs> = (
  context: Context,
  measurable: Measurable,
  options: EvalOptions,
) => Promise<Evaluated<Need>>

/** How inputs of metrics come about. */
export const evaluations: { readonly [Need in keyof MetricInputs]: Evaluation<Need> } = {
  tokens: evaluateTokens,
  texts: evaluateAnswers,
  classes: async (...given) => {
    const { predictions, labels, ...rest } = await evaluateLabels(...given)
    return { input: { predictions, labels }, ...rest }
  },
  scores: async (...given) => {
    const { predictions, labels, ...rest } = await evaluateLabels(...given)
    return { input: { scores: predictions, targets: labels }, ...rest }
  },
}

/** The length that sequences have. @throws UsageError when it is more than the model has positions for. */
export function lengthFor({ maxLength }: ModelConfig, { length }: EvalOptions, usual: number): number {
  if (length !== undefined && length > maxLength) {
    throw new UsageError(`--length: got ${length}, want at most the model's ${maxLength}`)
  }
  return length ?? Math.min(usual, maxLength)
}

async function evaluateTokens(context: Context, { name, config, job }: Measurable, options: EvalOptions) {
  const length = lengthFor(config, options, 256)
  const { model, tokenizer } = await openModel(name, context)
  const tokens = encodeDocuments(tokenizer, await readTexts(options.data)).subarray(0, options.maxTokens)
  const blocks = [...heldOut(tokens, { length, batch: options.batch ?? 8 })]
  const forward = createForward(await openDevice(options.device as 'cpu'), config)
  const [losses, positions]: [number[], number[]] = [[], []]
  const see = (loss: number, position: number) => {
    losses.push(loss)
    positions.push(position)
  }
  const { signal } = context
  try {
    const settings = { phase: 'score', clock, signal, see, ...(job && { ledger: job.ledger }) }
    await (job ?? context).run(scoreJob(forward, model.params, blocks, settings))
  } finally {
    await forward.dispose()
  }
  // Blocks follow each other, and each token but the first is predicted.
  const bytes = textBytes(tokenizer, tokens.subarray(1, losses.length + 1))
  return {
    input: { losses, positions, bytes },
    facts: { tokens: losses.length, bytes, length },
    on: `${losses.length} tokens, ${length} at a time`,
  }
}

async function evaluateAnswers(context: Context, { name, folder, job }: Measurable, options: EvalOptions) {
  const { data, maxExamples, tokens: maxTokens = 128, stem, date } = options
  const lines = await fromAll(data, readInstructions, maxExamples)
  const hasTalks = lines.some(({ instruction }) => 'messages' in instruction)
  const template = hasTalks ? await loadChatTemplate(folder) : undefined
  const format = { ...(template && { template }), ...(date && { date }) }
  const questions = lines.map(({ instruction, where }) => questionOf(instruction, format, where))
  const { model, tokenizer, beginIds, endIds: stop } = await openWriting(name, context)
  // A template writes the token that texts begin with itself.
  const prompts = questions.map(({ prompt }, i) => [
    ...('messages' in lines[i]!.instruction ? [] : beginIds),
    ...tokenizer.encode(prompt),
  ])
  const generator = createGenerator(await openDevice(options.device as 'cpu'), model)
  const { signal } = context
  try {
    const names = lines.map(({ where }) => where)
    const settings = { maxTokens, stop, names, batch: options.batch ?? 16, phase: 'answer', clock, signal }
    const answers = await (job ?? context).run(answersInParts(generator, prompts, settings, job?.ledger))
    const texts = answers.map((ids) => tokenizer.decode(ids).trim())
    return {
      input: { texts, references: questions.map(({ answer }) => answer.trim()), stem },
      facts: { examples: texts.length, answers: texts },
      on: `${texts.length} answers`,
    }
  } finally {
    await generator.dispose()
  }
}

/** Answers, in parts that are noted one by one where there is a ledger; who answers beside whom is then always the same. */
async function* answersInParts(
  generator: Generator,
  prompts: readonly ArrayLike<number>[],
  { names, phase, ...settings }: AnswerOptions & { readonly names: readonly string[]; readonly batch: number },
  ledger: Ledger | undefined,
): Job<number[][]> {
  if (!ledger) return yield* answerJob(generator, prompts, { names, phase, ...settings })
  const size = 4 * settings.batch
  const answers: number[][] = []
  for (let start = 0; start < prompts.length; start += size) {
    const part = `${phase} ${start}`
    let found = ledger.done[part] as number[][] | undefined
    if (!found) {
      const own = { ...settings, phase, names: names.slice(start, start + size) }
      const job = answerJob(generator, prompts.slice(start, start + size), own)
      let next = await job.next()
      for (; !next.done; next = await job.next()) {
        yield { ...next.value, step: start + next.value.step, steps: prompts.length }
      }
      found = next.value
      await ledger.note(part, found)
    }
    answers.push(...found!)
  }
  return answers
}

async function evaluateLabels(context: Context, { name, folder, config, job }: Measurable, options: EvalOptions) {
  const { data, maxExamples, text, pair, label, batch = 8 } = options
  const table = { ...(text && { text }), ...(pair && { pair }), ...(label && { label }), classes: classesOf(config) }
  const examples: Example[] = await fromAll(data, (source, path) => readTable(source, path, table), maxExamples)
  const tokenizer = await loadTokenizer(folder)
  checkVocabulary(name, tokenizer, config)
  const pack = packingOf(tokenizer, { maxLength: lengthFor(config, options, 512) })
  const packed = await packExamples(examples, tokenizer.encode, pack)
  const labels = config.task === 'regression' ? 'values' : 'classes'
  const batches = heldOutExamples(packed, { batch, labels })
  const { params } = await loadModel(folder, { memory: freeMemory() })
  const forward = createForward(await openDevice(options.device as 'cpu'), config)
  const { signal } = context
  try {
    const settings = { phase: 'predict', clock, signal, ...(job && { ledger: job.ledger }) }
    const found = await (job ?? context).run(predictJob(forward, { config, params }, batches, settings))
    return { ...found, facts: { examples: examples.length }, on: `${examples.length} examples` }
  } finally {
    await forward.dispose()
  }
}

/** The names of a model's classes in order, which a table may write in place of numbers; none for values. */
function classesOf({ task, labels, json }: ModelConfig): string[] {
  if (task === 'regression') return []
  const names = Object(json.id2label) as Readonly<Record<string, unknown>>
  return Array.from({ length: labels }, (_, i) => String(names[i] ?? i))
}

/** Items of several files, at most so many. @throws Error naming the files when there are none. */
async function fromAll<T>(
  files: readonly string[],
  read: (source: Source, path: string) => AsyncGenerator<T>,
  most = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const found: T[] = []
  for (const file of files) {
    found.push(...(await collected(read(folderSource(dirname(file)), basename(file)), most - found.length)))
  }
  if (found.length === 0) throw new Error(`${files.join(', ')}: got no examples, want at least one`)
  return found
}
