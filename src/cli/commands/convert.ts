/** `hedgehog convert`: from a checkpoint folder and text to a linear-attention model and a report. */

import { rm } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { planName, planNamed } from '../../attention/plan.ts'
import { Interrupted, UsageError } from '../../base/errors.ts'
import { type ConvertJob, checkJob, convert } from '../../convert/convert.ts'
import { conversionFingerprint, conversionRecipes } from '../../convert/recipes.ts'
import { reportOf } from '../../convert/report.ts'
import { encodeDocuments } from '../../io/batches.ts'
import type { Sink } from '../../io/files.ts'
import type { Tokenizer } from '../../io/tokenizer.ts'
import { readJson, saveModel, writeJson } from '../../models/folder.ts'
import type { Model } from '../../models/model.ts'
import { openDevice } from '../../node/device.ts'
import { folderSource } from '../../node/files.ts'
import { reportHtml } from '../../report/html.ts'
import { reportText } from '../../report/terminal.ts'
import type { Report } from '../../report/types.ts'
import { checkFingerprint, resumeFrom, saveCheckpoint } from '../../train/checkpoint.ts'
import type { StageStore } from '../../train/stage.ts'
import type { Context, Run } from '../command.ts'
import { clock, makeFolder, openModel, openOutput, readSplits, versions, writeTogether } from '../inputs.ts'
import type { Values } from '../options.ts'
import type { convertOptions } from '../optionTables.ts'

type Options = Values<typeof convertOptions>

const workFolder = 'work'
const jobFile = `${workFolder}/job.json`
/** Test tokens that perplexities are measured on at most: enough to tell maps apart, in seconds. */
const testTokens = 65_536

export const run: Run<typeof convertOptions, 'model'> = async (context, { model: path }, options) => {
  const began = clock()
  const out = options.out ?? `${basename(resolve(path))}-linear`
  if (resolve(out) === resolve(path)) {
    throw new UsageError(`--out: ${out} is the model that is converted; choose another folder`)
  }
  if (options.resume) await checkResumable(out)
  const sink = await openOutput(out, { replace: options.force, own: options.resume ? [workFolder] : [] })
  const { model: teacher, tokenizer } = await openModel(path, context)
  const job = await jobOf(context, options, teacher, tokenizer)
  checkJob(job)
  const store = await openStore(sink, out, conversionFingerprint(job), options.resume)
  const conversion = await context.run(convert({ ...job, store })).catch((error: unknown) => {
    if (!(error instanceof Interrupted)) throw error
    const again = options.resume ? context.commandLine : `${context.commandLine} --resume`
    throw new Interrupted(`${error.message}; saved in ${join(out, workFolder)}; go on with: ${again}`)
  })
  const facts = {
    name: basename(resolve(path)),
    command: context.commandLine,
    versions: versions(),
    seconds: clock() - began,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  }
  const report = await reportOf(job, conversion, facts, (id) => tokenizer.decode([id]))
  await writeTogether(out, async (result) => {
    await saveModel(result, conversion.model, { tokenizer: tokenizer.json })
    await writeReport(result, report)
  })
  await rm(join(out, workFolder), { recursive: true, force: true })
  return {
    value: { out, ...report, maps: undefined, weightCurves: undefined },
    text: summary(report, out, context.columns),
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

async function checkResumable(out: string): Promise<void> {
  const files = await folderSource(out)
    .list()
    .catch((): readonly string[] => [])
  if (files.includes(jobFile)) return
  throw new UsageError(`--resume: ${out} has no interrupted conversion; leave out --resume to begin`)
}

/** Stages in the work folder; a stage is resumed only by a job with the same settings. */
async function openStore(sink: Sink, out: string, fingerprint: string, resume: boolean): Promise<StageStore> {
  const file = (stage: string) => `${workFolder}/${stage}.safetensors`
  if (resume)
    checkFingerprint(out, jobFile, String((await readJson(folderSource(out), jobFile)).fingerprint), fingerprint)
  else await rm(join(out, workFolder), { recursive: true, force: true })
  await makeFolder(out)
  await writeJson(sink, jobFile, { fingerprint })
  return {
    save: (stage, state) => saveCheckpoint(sink, file(stage), state, fingerprint),
    async resume(stage) {
      const source = folderSource(out)
      if (!(await source.list()).includes(file(stage))) return undefined
      return resumeFrom(source, file(stage), fingerprint)
    },
  }
}

async function writeReport(sink: Sink, report: Report): Promise<void> {
  await writeJson(sink, 'report.json', report)
  await sink.write('report.html', [new TextEncoder().encode(reportHtml(report))])
}

function summary(report: Report, out: string, columns: number): string {
  return `${reportText(report, columns)}\n${join(out, 'report.html')} shows the curves and attention maps; the model is in ${out}\n`
}
