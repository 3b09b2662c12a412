/** `hedgehog convert`: from a checkpoint folder and text to a linear-attention model and a report. */

import { basename, join, resolve } from 'node:path'
import { planName, planNamed } from '../../attention/plan.ts'
import { UsageError } from '../../base/errors.ts'
import { type ConvertJob, checkJob, convert } from '../../convert/convert.ts'
import { conversionRecipes } from '../../convert/recipes.ts'
import { reportOf } from '../../convert/report.ts'
import { identityOf } from '../../generate/fingerprint.ts'
import { encodeDocuments } from '../../io/batches.ts'
import { checkpointDigest } from '../../io/checkpoint.ts'
import type { Sink } from '../../io/files.ts'
import { saveModel, writeJson } from '../../models/folder.ts'
import type { Model } from '../../models/model.ts'
import { tokenizerOf } from '../../models/writing.ts'
import { openDevice } from '../../node/device.ts'
import { openSource } from '../../node/source.ts'
import { reportHtml } from '../../report/html.ts'
import { reportText } from '../../report/terminal.ts'
import type { Report } from '../../report/types.ts'
import type { Context, Outcome, Run } from '../command.ts'
import { clock, filesDigest, type Loaded, openModel, readSplits, versions } from '../inputs.ts'
import { type JobFolder, openJob } from '../job.ts'
import type { Values } from '../options.ts'
import type { convertOptions } from '../optionTables.ts'
import { runsOf } from '../streamedConversion.ts'
import { openStreamed, type StreamedModel, type StreamedOptions, saveMerged } from '../streaming.ts'

type Options = Values<typeof convertOptions>

const resultFile = 'report.json'
/** Test tokens that perplexities are measured on at most: enough to tell maps apart, in seconds. */
const testTokens = 65_536

/** The teacher, or where it is read as it is needed what is outside of its blocks. */
interface Opened extends Loaded {
  readonly streamed?: StreamedModel
  /** What its weights are known by in the settings of a job. */
  readonly weights: string
}

/** A conversion, and what of the command it takes to tell and write it. */
interface Task {
  readonly path: string
  readonly out: string
  readonly began: number
  readonly options: Options
  readonly opened: Opened
  readonly job: ConvertJob
}

export const run: Run<typeof convertOptions, 'model'> = async (context, { model: path }, options) => {
  const began = clock()
  const out = options.out ?? `${basename(resolve(path))}-linear`
  if (resolve(out) === resolve(path)) {
    throw new UsageError(`--out: ${out} is the model that is converted; choose another folder`)
  }
  if (options.memory !== undefined && !options.lora && options.finetuneSteps !== 0) {
    throw new UsageError(
      '--memory: weights that are read as they are needed do not learn; pass --lora, or --finetune-steps 0',
    )
  }
  const folder = await openJob(context, { ...options, out }, resultFile)
  const opened = await openTeacher(context, path, out, options)
  const described = await jobOf(context, options, opened)
  checkJob(described)
  const blocks = opened.streamed?.plan(...runsOf(described))
  const job = { ...described, ...blocks?.streams }
  try {
    return await converted(context, folder, { path, out, began, options, opened, job })
  } finally {
    await blocks?.dispose()
  }
}

async function converted(context: Context, folder: JobFolder, task: Task): Promise<Outcome> {
  const { path, out, began, options, opened } = task
  const { tokenizer } = opened
  const settings = await settingsOf(task)
  const begun = await folder.begin(settings)
  if (begun.finished) return outcomeOf(begun.finished as unknown as Report, out, context)
  const { checkpointEvery } = options
  const job = { ...task.job, store: begun.stages, ...(checkpointEvery !== undefined && { checkpointEvery }) }
  const conversion = await begun.run(convert(job))
  const facts = {
    name: basename(resolve(path)),
    command: context.commandLine,
    versions: versions(),
    seconds: clock() - began,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  }
  const report = await reportOf(job, conversion, facts, (id) => tokenizer.decode([id]))
  await begun.finish(async (result) => {
    await save(result, task, conversion.model)
    await writeReport(result, report, settings)
  })
  return outcomeOf(report, out, context)
}

async function openTeacher(context: Context, path: string, out: string, options: StreamedOptions): Promise<Opened> {
  if (options.memory === undefined) {
    const loaded = await openModel(path, context)
    return { ...loaded, weights: (await identityOf(loaded.model, loaded.tokenizer)).weights }
  }
  const source = await context.run(openSource(path))
  const streamed = await openStreamed(context, path, source, { ...options, folder: out })
  const tokenizer = await tokenizerOf(source, streamed.model.config)
  return { model: streamed.model, tokenizer, streamed, weights: await checkpointDigest(source) }
}

function save(sink: Sink, { job: { device }, opened }: Task, model: Model): Promise<void> {
  const tokenizer = opened.tokenizer.json
  const files = opened.streamed?.files
  return files ? saveMerged(sink, { device, files, model, tokenizer }) : saveModel(sink, model, { tokenizer })
}

function outcomeOf(report: Report, out: string, { columns }: Context): Outcome {
  return {
    value: { out, ...report, settings: undefined, maps: undefined, weightCurves: undefined },
    text: summary(report, out, columns),
  }
}

async function jobOf(context: Context, options: Options, { model: teacher, tokenizer }: Loaded): Promise<ConvertJob> {
  const { length = Math.min(256, teacher.config.maxLength), batch = 8 } = options
  if (length > teacher.config.maxLength) {
    throw new UsageError(`--length: got ${length}, want at most the model's ${teacher.config.maxLength}`)
  }
  const { seed } = context
  const splits = await readSplits(options, seed)
  const encode = (texts: readonly string[]) => encodeDocuments(tokenizer, texts)
  return {
    device: await openDevice(options.device as 'cpu'),
    teacher,
    trainTokens: encode(splits.train),
    validationTokens: encode(splits.validation),
    testTokens: encode(splits.test).subarray(0, testTokens),
    map: namedMap('--map', options.map ?? 'hedgehog'),
    compare: (options.compare ?? ['t2r', 'elu']).map((name) => namedMap('--compare', name)),
    ...conversionRecipes({ ...options, length, batch, seed }),
    ...(options.lora && { lora: options.lora }),
    clock,
    signal: context.signal,
  } as ConvertJob
}

function namedMap(option: string, name: string) {
  try {
    return planName(planNamed(name))
  } catch (error) {
    throw new UsageError(`${option}: ${(error as Error).message}`)
  }
}

/** What makes two conversions the same job. */
async function settingsOf({ job, options, opened }: Task): Promise<object> {
  const { teacher, map, compare, distill, finetune, lora, seed } = job
  const { json: _, ...config } = teacher.config
  const { weights, tokenizer, streamed } = opened
  const { tokenizer: tokens } = await identityOf(teacher, tokenizer)
  const { data, validation, test } = options
  const files = await filesDigest([...data, ...(validation ? [validation] : []), ...(test ? [test] : [])])
  return {
    ...(streamed && { streamed: true }),
    ...{ config, weights, tokenizer: tokens, map, compare, distill, finetune, lora, data: files, seed },
  }
}

async function writeReport(sink: Sink, report: Report, settings: object): Promise<void> {
  await writeJson(sink, resultFile, { ...report, settings })
  await sink.write('report.html', [new TextEncoder().encode(reportHtml(report))])
}

function summary(report: Report, out: string, columns: number): string {
  return `${reportText(report, columns)}\n${join(out, 'report.html')} shows the curves and attention maps; the model is in ${out}\n`
}
