/** `hedgehog inspect`: the properties of attention weights that the paper measures, of many maps or of a converted model. */

import { basename, join, resolve } from 'node:path'
import { isDistilled, planName, planNamed } from '../../attention/plan.ts'
import { Interrupted, UsageError } from '../../base/errors.ts'
import { allMaps, checkInspection, type InspectedText, type InspectJob, inspect } from '../../convert/inspect.ts'
import { distillDefaults } from '../../convert/stages.ts'
import { propertyNamed, propertyNames } from '../../evaluate/propertyNames.ts'
import { identityOf } from '../../generate/fingerprint.ts'
import { encodeDocuments } from '../../io/batches.ts'
import type { Sink } from '../../io/files.ts'
import type { Tokenizer } from '../../io/tokenizer.ts'
import type { Model } from '../../models/model.ts'
import { openDevice } from '../../node/device.ts'
import { inspectHtml } from '../../report/inspect/html.ts'
import { inspectText } from '../../report/inspect/text.ts'
import type { InspectReport } from '../../report/inspect/types.ts'
import type { Context, Outcome, Run } from '../command.ts'
import { clock, filesDigest, openModel, readTexts, versions } from '../inputs.ts'
import { openJob, unforced } from '../job.ts'
import type { Values } from '../options.ts'
import type { inspectOptions } from '../optionTables.ts'

type Options = Values<typeof inspectOptions>

const resultFile = 'inspect.json'
const defaultTokens = 4096
/** Tokens of --distill-data that its loss is validated on: the last twentieth, at most so many. */
const validationTokens = 8192

export const run: Run<typeof inspectOptions, 'model'> = async (context, { model: path }, options) => {
  const began = clock()
  const { out } = options
  const properties = usage(() =>
    (options.properties ?? propertyNames).map((name) => propertyNamed(name, '--properties')),
  )
  const maps = options.maps && chosenMaps(options.maps)
  const { force, keep } = options
  const again = unforced(context.commandLine)
  const folder =
    out && (await openJob(context, { out, force, resume: !force, again, ...(keep && { keep }) }, resultFile))
  const { model, tokenizer } = await openModel(path)
  const described = await jobOf(context, options, model, tokenizer, maps ?? defaultMaps(model))
  const whole = { ...described, properties }
  usage(() => checkInspection(whole))
  const settings = await settingsOf(whole, options, tokenizer)
  const begun = folder ? await folder.begin(settings) : undefined
  if (begun?.finished) return outcomeOf(begun.finished as unknown as InspectReport, out, context)
  const { checkpointEvery } = options
  const kept = begun && { store: begun.stages, ledger: begun.ledger }
  const job = inspect({ ...whole, ...kept, ...(checkpointEvery !== undefined && { checkpointEvery }) }, (id) =>
    tokenizer.decode([id]),
  )
  const result = await (begun ? begun.run(job) : context.run(job).catch(unsaved))
  const facts = {
    name: basename(resolve(path)),
    command: context.commandLine,
    seed: context.seed,
    seconds: clock() - began,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    versions: versions(),
  }
  const report: InspectReport = { ...facts, ...result }
  await begun?.finish((sink) => write(sink, report, settings))
  return outcomeOf(report, out, context)
}

function outcomeOf(report: InspectReport, out: string | undefined, { columns }: Context): Outcome {
  const text = inspectText(report, columns)
  return {
    value: { ...(out && { out }), ...report, settings: undefined, shown: undefined, curves: undefined },
    text: out ? `${text}\n${join(out, 'inspect.html')} shows it as pictures\n` : text,
  }
}

/** Full names of the maps that were asked for. @throws UsageError naming the known ones. */
function chosenMaps(names: readonly string[]): string[] {
  return names.flatMap((name) => {
    if (name === 'all') return allMaps
    return usage(() => planName(planNamed(name)), '--maps: ')
  })
}

/** All maps beside a softmax model; a converted one is compared with softmax alone. */
function defaultMaps({ config }: Model): readonly string[] {
  return config.attention.every(({ kind }) => kind === 'softmax' || kind === 'window') ? allMaps : []
}

async function jobOf(
  context: Context,
  options: Options,
  model: Model,
  tokenizer: Tokenizer,
  maps: readonly string[],
): Promise<Omit<InspectJob, 'properties'>> {
  const { seed, signal } = context
  const lengths = [...new Set(options.lengths ?? defaultLengths(model))].sort((a, b) => a - b)
  const tokens = Math.max(options.tokens ?? defaultTokens, lengths.at(-1)!)
  const texts: InspectedText[] = []
  for (const file of options.data) {
    const isClear = options.data.filter((other) => basename(other) === basename(file)).length === 1
    const ids = encodeDocuments(tokenizer, await readTexts([file])).subarray(0, tokens + 1)
    texts.push({ name: isClear ? basename(file) : file, tokens: ids })
  }
  const distill = await distillOf(context, options, model, tokenizer, maps)
  return {
    device: await openDevice(options.device),
    ...{ model, texts, maps, lengths, tokens, seed, clock, signal },
    ...(distill && { distill }),
  }
}

function defaultLengths({ config }: Model): number[] {
  const most = Math.min(256, config.maxLength)
  return [Math.ceil(most / 4), Math.ceil(most / 2), most]
}

/** The recipe of `hedgehog convert`, on other text than is measured. */
async function distillOf(
  { seed }: Context,
  { data, distillData, distillSteps: steps = distillDefaults.steps }: Options,
  model: Model,
  tokenizer: Tokenizer,
  maps: readonly string[],
): Promise<InspectJob['distill']> {
  const learned = maps.filter((name) => isDistilled(planNamed(name)))
  if (learned.length === 0 || steps === 0) return undefined
  if (!distillData) {
    throw new UsageError(
      `--distill-data is missing, want text that ${learned.join(', ')} are distilled on; or pass --distill-steps 0 to ` +
        'measure them where they begin',
    )
  }
  const both = distillData.find((file) => data.some((other) => resolve(other) === resolve(file)))
  if (both) throw new UsageError(`--distill-data: ${both} is measured on too; want other text than --data`)
  const tokens = encodeDocuments(tokenizer, await readTexts(distillData))
  const length = Math.min(256, model.config.maxLength)
  const held = Math.max(length + 1, Math.min(validationTokens, Math.floor(tokens.length / 20)))
  const { batch, learningRate, loss } = distillDefaults
  return {
    trainTokens: tokens.subarray(0, Math.max(0, tokens.length - held)),
    validationTokens: tokens.subarray(Math.max(0, tokens.length - held)),
    distill: { steps, length, batch, learningRate, loss, seed, adamw: { weightDecay: 0 } },
  }
}

/** What makes two inspections the same. */
async function settingsOf(job: InspectJob, options: Options, tokenizer: Tokenizer): Promise<object> {
  const { model, maps, properties, lengths, tokens, distill, seed } = job
  const { json: _, ...config } = model.config
  const { weights } = await identityOf(model, tokenizer)
  const data = await filesDigest([...options.data, ...(options.distillData ?? [])])
  const texts = job.texts.map(({ name }) => name)
  return { config, weights, data, texts, maps, properties, lengths, tokens, distill: distill?.distill, seed }
}

function unsaved(error: Error): never {
  throw error instanceof Interrupted ? new Interrupted(`${error.message}; nothing was saved`) : error
}

async function write(sink: Sink, report: InspectReport, settings: object): Promise<void> {
  const encoder = new TextEncoder()
  // Not indented: most of it are the weights that are shown.
  await sink.write(resultFile, [encoder.encode(`${JSON.stringify({ ...report, settings })}\n`)])
  await sink.write('inspect.html', [encoder.encode(inspectHtml(report))])
}

/** What a library function refuses is here a wrong argument. */
function usage<T>(choose: () => T, where = ''): T {
  try {
    return choose()
  } catch (error) {
    throw new UsageError(`${where}${(error as Error).message}`)
  }
}
