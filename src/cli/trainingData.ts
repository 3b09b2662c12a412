/** Data to finetune on, by what its files hold: text, conversations, or texts with labels; with the model made ready for it. */

import { basename, dirname } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { random } from '../base/random.ts'
import type { Batch } from '../execute/objective.ts'
import { batches, encodeDocuments, heldOut } from '../io/batches.ts'
import { loadChatTemplate } from '../io/chatTemplate.ts'
import type { Source } from '../io/files.ts'
import { loadTokenizer, type Tokenizer } from '../io/tokenizer.ts'
import { type LoadOptions, loadModel } from '../models/folder.ts'
import type { Model } from '../models/model.ts'
import { folderSource } from '../node/files.ts'
import { freeMemory } from '../node/freeMemory.ts'
import { exampleBatches, heldOutExamples, type PackedExample, packExamples, paddedLengths } from '../tasks/batches.ts'
import { type Classes, collected } from '../tasks/examples.ts'
import { encodeInstruction, type InstructionTokens, readInstructions } from '../tasks/instruction.ts'
import { heldOutInstructions, instructionBatches } from '../tasks/instructionBatches.ts'
import { textLines } from '../tasks/lines.ts'
import { type Pack, packing } from '../tasks/pack.ts'
import { readTable, tableClasses } from '../tasks/tables.ts'
import { validatedTokens } from '../train/pretrain.ts'
import type { BatchStream } from '../train/train.ts'
import { readTexts } from './inputs.ts'

/** What finetuning reads. */
export interface TrainingData {
  readonly kind: 'text' | 'instructions' | 'labelled'
  readonly model: Model
  readonly tokenizer: Tokenizer
  /** How much there is to learn from: tokens of text, else examples. */
  readonly size: number
  /** Tokens in a sequence at most. */
  readonly length: number
  readonly batches: BatchStream
  readonly heldOut?: readonly Batch[]
}

/** Which files, how they are read, and the shape of batches. */
export interface DataOptions {
  readonly data: readonly string[]
  readonly validation?: string
  readonly text?: string
  readonly pair?: string
  readonly label?: string
  readonly answers?: 'all' | 'last'
  /** Tokens in a sequence at most. */
  readonly length?: number
  readonly batch: number
  readonly seed: number
  /** The model, where it is not to be loaded as a whole. */
  readonly model?: Model
}

/** Training sequences where no length is asked for. */
const usualLength = 256

/**
 * Opens data and the model for it: labelled texts make it a classifier of as many classes as there are labels.
 * @throws UsageError for files of several kinds or a length that the model cannot; Error naming file and line.
 */
export async function openTrainingData(source: Source, options: DataOptions): Promise<TrainingData> {
  const kinds = await Promise.all([...options.data, ...(options.validation ? [options.validation] : [])].map(kindOf))
  const [kind] = kinds
  const other = kinds.findIndex((found) => found !== kind)
  if (other >= 0) {
    const file = options.data[other] ?? options.validation
    throw new UsageError(`--data: ${options.data[0]} is ${kind}, ${file} is ${kinds[other]}; want files of one kind`)
  }
  return openers[kind!](source, options)
}

const openers: Readonly<Record<TrainingData['kind'], (source: Source, options: DataOptions) => Promise<TrainingData>>> =
  { text: textData, instructions: instructionData, labelled: labelledData }

async function textData(source: Source, options: DataOptions): Promise<TrainingData> {
  const { model, tokenizer, shape } = await openFor(source, options)
  const tokens = encodeDocuments(tokenizer, await readTexts(options.data))
  const held = options.validation && encodeDocuments(tokenizer, await readTexts([options.validation]))
  return {
    ...{ kind: 'text', model, tokenizer, size: tokens.length, length: shape.length, batches: batches(tokens, shape) },
    ...(held && { heldOut: [...heldOut(held.subarray(0, validatedTokens), shape)] }),
  }
}

async function instructionData(source: Source, options: DataOptions): Promise<TrainingData> {
  const { model, tokenizer, shape } = await openFor(source, options)
  const encoded = async (file: string): Promise<InstructionTokens[]> => {
    const lines = await collected(readInstructions(...located(file)))
    const chats = lines.some(({ instruction }) => 'messages' in instruction)
    const format = {
      ...{ tokenizer, answers: options.answers ?? 'all' },
      ...(chats && { template: await loadChatTemplate(source) }),
    }
    return lines.map(({ line, instruction }) => encodeInstruction(instruction, format, `${file}:${line}`))
  }
  const examples = (await Promise.all(options.data.map(encoded))).flat()
  const held = options.validation && (await encoded(options.validation))
  return {
    ...{ kind: 'instructions', model, tokenizer, size: examples.length, length: shape.length },
    batches: instructionBatches(examples, shape),
    ...(held && { heldOut: [...heldOutInstructions(held, shape)] }),
  }
}

async function labelledData(source: Source, options: DataOptions): Promise<TrainingData> {
  const { text = 'text', label = 'label', pair } = options
  const columns = { text, label, ...(pair && { pair }) }
  const classes = await classesOf(options.data, columns)
  const choice = { task: 'classification', labels: classes.length, rng: random(options.seed).split('end') } as const
  const { model, tokenizer, shape } = await openFor(source, options, choice)
  const { pack, padding } = packingFor(model, tokenizer, shape.length)
  const packed = async (file: string): Promise<PackedExample[]> => {
    const examples = readTable(...located(file), { ...columns, classes })
    return packExamples(examples, (input) => tokenizer.encode(input), pack)
  }
  const examples = (await Promise.all(options.data.map(packed))).flat()
  const held = options.validation ? await packed(options.validation) : []
  const batching = { batch: options.batch, lengths: paddedLengths([...examples, ...held]), padding }
  return {
    ...{ kind: 'labelled', model: named(model, classes), tokenizer, size: examples.length, length: shape.length },
    batches: exampleBatches(examples, { ...batching, seed: options.seed }),
    ...(held.length > 0 && { heldOut: [...heldOutExamples(held, batching)] }),
  }
}

/** The labels of all files. */
async function classesOf(files: readonly string[], columns: object): Promise<Classes> {
  const found = await Promise.all(files.map((file) => tableClasses(...located(file), columns)))
  const classes = [...new Set(found.flat())]
  if (classes.length >= 2) return found.length === 1 ? found[0]! : classes.sort()
  throw new Error(`${files[0]}: got ${classes.length} different labels, want at least 2 to tell apart`)
}

/** A classifier's config with the names of its classes. */
function named({ config, params }: Model, classes: Classes): Model {
  const id2label = Object.fromEntries(classes.map((name, i) => [i, name]))
  const label2id = Object.fromEntries(classes.map((name, i) => [name, i]))
  return { config: { ...config, json: { ...config.json, id2label, label2id } }, params }
}

/** How texts become what a model reads: between `[CLS]` and `[SEP]` where it sees both ways, else as they are. */
function packingFor({ config }: Model, tokenizer: Tokenizer, maxLength: number): { pack: Pack; padding: number } {
  if (config.causal) return { pack: packing({ maxLength, between: [...tokenizer.encode('\n')] }), padding: 0 }
  const [padding, start, end] = ['[PAD]', '[CLS]', '[SEP]'].map((token) => {
    const ids = tokenizer.encode(token)
    if (ids.length === 1) return ids[0]!
    throw new Error(`tokenizer.json: has no token ${token}, want that of a model like BERT`)
  }) as [number, number, number]
  return { pack: packing({ maxLength, before: [start], between: [end], after: [end], types: true }), padding }
}

/** The model for a task, its tokenizer, and the shape of its batches. */
async function openFor(source: Source, { length, batch, seed, model: given }: DataOptions, choice?: LoadOptions) {
  if (given && choice) throw new UsageError('--memory: classifiers are trained in memory; leave it out')
  const model = given ?? (await loadModel(source, { ...choice, memory: freeMemory() }))
  const tokenizer = await loadTokenizer(source)
  const { maxLength, vocab, task } = model.config
  if (!choice && task !== 'language') {
    throw new Error(`${source.name}: config.json: the model is for ${task}; want one that predicts the next token`)
  }
  if (length !== undefined && length > maxLength) {
    throw new UsageError(`--length: got ${length}, want at most the model's ${maxLength}`)
  }
  if (tokenizer.vocabSize > vocab) {
    throw new Error(
      `${source.name}: tokenizer.json has ${tokenizer.vocabSize} tokens, config.json has vocab_size ${vocab}; use the ` +
        'tokenizer that the model was trained with',
    )
  }
  return { model, tokenizer, shape: { length: length ?? Math.min(usualLength, maxLength), batch, seed } }
}

/** What a file holds, by the end of its name and, for JSON lines, by its first line. */
async function kindOf(file: string): Promise<TrainingData['kind']> {
  if (/\.(csv|tsv)$/i.test(file)) return 'labelled'
  if (!/\.(jsonl|ndjson)$/i.test(file)) return 'text'
  for await (const [, text] of textLines(...located(file))) {
    if (text.trim() === '') continue
    return /"messages"\s*:|"completion"\s*:/.test(text) ? 'instructions' : 'labelled'
  }
  throw new Error(`${file}: is empty, want JSON lines`)
}

function located(file: string): [Source, string] {
  return [folderSource(dirname(file)), basename(file)]
}
