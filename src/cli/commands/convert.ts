/** `hedgehog convert`: from a checkpoint folder and text to a linear-attention model and a report. */

import { basename, join, resolve } from 'node:path'
import { planName, planNamed } from '../../attention/plan.ts'
import { UsageError } from '../../base/errors.ts'
import { type ConvertJob, checkJob, convert } from '../../convert/convert.ts'
import { conversionRecipes } from '../../convert/recipes.ts'
import { reportOf } from '../../convert/report.ts'
import { identityOf } from '../../generate/fingerprint.ts'
import { encodeDocuments } from '../../io/batches.ts'
import type { Sink } from '../../io/files.ts'
import type { Tokenizer } from '../../io/tokenizer.ts'
import { saveModel, writeJson } from '../../models/folder.ts'
import type { Model } from '../../models/model.ts'
import { openDevice } from '../../node/device.ts'
import { reportHtml } from '../../report/html.ts'
import { reportText } from '../../report/terminal.ts'
import type { Report } from '../../report/types.ts'
import type { Context, Outcome, Run } from '../command.ts'
import { clock, filesDigest, openModel, readSplits, versions } from '../inputs.ts'
import { openJob } from '../job.ts'
import type { Values } from '../options.ts'
import type { convertOptions } from '../optionTables.ts'

type Options = Values<typeof convertOptions>

const resultFile = 'report.json'
/** Test tokens that perplexities are measured on at most: enough to tell maps apart, in seconds. */
const testTokens = 65_536

export const run: Run<typeof convertOptions, 'model'> = async (context, { model: path }, options) => {
  const began = clock()
  const out = options.out ?? `${basename(resolve(path))}-linear`
  if (resolve(out) === resolve(path)) {
    throw new UsageError(`--out: ${out} is the model that is converted; choose another folder`)
  }
  const folder = await openJob(context, { ...options, out }, resultFile)
  const { model: teacher, tokenizer } = await openModel(path, context)
  const described = await jobOf(context, options, teacher, tokenizer)
  checkJob(described)
  const settings = await settingsOf(described, options, tokenizer)
  const begun = await folder.begin(settings)
  if (begun.finished) return outcomeOf(begun.finished as unknown as Report, out, context)
  const { checkpointEvery } = options
  const job = { ...described, store: begun.stages, ...(checkpointEvery !== undefined && { checkpointEvery }) }
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
    await saveModel(result, conversion.model, { tokenizer: tokenizer.json })
    await writeReport(result, report, settings)
  })
  return outcomeOf(report, out, context)
}

function outcomeOf(report: Report, out: string, { columns }: Context): Outcome {
  return {
    value: { out, ...report, settings: undefined, maps: undefined, weightCurves: undefined },
    text: summary(report, out, columns),
  }
}

async function jobOf(context: Context, options: Options, teacher: Model, tokenizer: Tokenizer): Promise<ConvertJob> {
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
async function settingsOf(job: ConvertJob, options: Options, tokenizer: Tokenizer): Promise<object> {
  const { teacher, map, compare, distill, finetune, lora, seed } = job
  const { json: _, ...config } = teacher.config
  const { weights, tokenizer: tokens } = await identityOf(teacher, tokenizer)
  const { data, validation, test } = options
  const files = await filesDigest([...data, ...(validation ? [validation] : []), ...(test ? [test] : [])])
  return { config, weights, tokenizer: tokens, map, compare, distill, finetune, lora, data: files, seed }
}

async function writeReport(sink: Sink, report: Report, settings: object): Promise<void> {
  await writeJson(sink, resultFile, { ...report, settings })
  await sink.write('report.html', [new TextEncoder().encode(reportHtml(report))])
}

function summary(report: Report, out: string, columns: number): string {
  return `${reportText(report, columns)}\n${join(out, 'report.html')} shows the curves and attention maps; the model is in ${out}\n`
}
