/** Converting a model in the tab: begun, interrupted, gone on with, and its result stored and packed. */

import type { Job, Progress } from '../../base/progress.ts'
import { type Conversion, type ConvertJob, convert } from '../../convert/convert.ts'
import { conversionFingerprint } from '../../convert/recipes.ts'
import { reportOf } from '../../convert/report.ts'
import { documentsOf, type Split } from '../../io/corpus.ts'
import { type Source, subfolder } from '../../io/files.ts'
import { modelFolder } from '../../io/ggufFolder.ts'
import { splitTexts } from '../../io/splits.ts'
import { readJson, saveModel, writeJson } from '../../models/folder.ts'
import { type Loaded, loadLanguage } from '../../models/writing.ts'
import { reportHtml } from '../../report/html.ts'
import type { Report } from '../../report/types.ts'
import { resumeFrom, saveCheckpoint } from '../../train/checkpoint.ts'
import type { StageStore } from '../../train/stage.ts'
import { filesSource } from '../../web/files.ts'
import type { Folder } from '../../web/memory.ts'
import { zipped } from '../../web/zip.ts'
import type { ConversionChoices, ConvertNews, ConvertResult, NewConversion } from '../conversion.ts'
import { conversionsFolder, modelName } from '../models.ts'
import { commandOf, conversionJob } from './conversionJob.ts'
import type { Host } from './host.ts'
import type { WorkerJob } from './job.ts'
import { mostWeights, openRef } from './models.ts'
import { copyInto, openShelf, type Shelf } from './shelf.ts'

const workFolder = 'convert-work'
const jobFile = 'job.json'

/** What is stored of a conversion beside its model, texts and stages; written last, so that a work folder with it is whole. */
interface Stored {
  readonly model: string
  /** The folder of the site that the model is, else its files are in the work folder. */
  readonly site?: string
  readonly ownTexts: boolean
  readonly choices: ConversionChoices
}

let shelf: Promise<Shelf> | undefined
const theShelf = () => {
  shelf ??= openShelf()
  return shelf
}

/** Converts; see {@link ConvertNews}. */
export const convertModel: WorkerJob<'convert'> = async function* ({ device: name, begin }, host, signal) {
  const began = host.clock()
  const release = await lock()
  try {
    const places = await theShelf()
    const work = places.folder(workFolder)
    if (begin) yield* shown(store(host, places, begin))
    const stored = (await readJson(work, jobFile)) as unknown as Stored
    const loaded = yield* shown(teacher(host, work, stored))
    const texts = yield* shown(textsOf(host, work, stored))
    yield { kind: 'progress', progress: { phase: 'read the text', step: 0, steps: 1, seconds: 0 } }
    const device = await host.device(name)
    const past: ConvertNews[] = []
    const job = conversionJob(device, loaded, texts, stored.choices, { clock: host.clock, signal })
    const stages = stagesIn(work, conversionFingerprint(job), past)
    const conversion = yield* withPast(convert({ ...job, store: stages }), past)
    const seconds = host.clock() - began
    const report = await reportFor(job, conversion, loaded, stored, seconds)
    const result = await saved(places, stored, conversion, loaded, report)
    await places.remove(workFolder)
    return result
  } finally {
    release()
  }
}

export const unfinished: WorkerJob<'unfinished'> = async () => {
  const work = (await theShelf()).folder(workFolder)
  if (!(await work.list()).includes(jobFile)) return null
  const { model, choices } = (await readJson(work, jobFile)) as unknown as Stored
  return { model, choices }
}

export const forget: WorkerJob<'forget'> = async () => {
  const release = await lock()
  await (await theShelf()).remove(workFolder).finally(release)
  return null
}

export const pack: WorkerJob<'pack'> = async ({ name }) => {
  return zipped((await theShelf()).folder(`${conversionsFolder}/${name}`))
}

/** Keeps all that the conversion needs, so that it goes on without the files that were dropped. */
async function* store(host: Host, places: Shelf, { model, texts, choices }: NewConversion): Job<void> {
  const source = yield* openRef(host, model)
  await places.remove(workFolder)
  const work = places.folder(workFolder)
  if (model.kind !== 'site') await copyInto(work, source, 'model/')
  if (texts !== 'prose') await copyInto(work, filesSource(texts.name, texts.files), 'texts/')
  const site = model.kind === 'site' ? { site: model.folder } : {}
  const stored: Stored = { model: modelName(model), ...site, ownTexts: texts !== 'prose', choices }
  await writeJson(work, jobFile, stored)
}

async function* teacher(host: Host, work: Folder, { site, model }: Stored): Job<Loaded> {
  if (site !== undefined) return loadLanguage(yield* host.folder(site), { memory: mostWeights })
  const folder = await modelFolder(subfolder(work, 'model'))
  return loadLanguage({ ...folder, name: model }, { memory: mostWeights })
}

async function* textsOf(host: Host, work: Folder, { ownTexts, choices }: Stored): Job<Split<string>> {
  if (ownTexts) return splitTexts(await readTexts(subfolder(work, 'texts')), choices.seed)
  const prose = yield* host.folder('texts/brown')
  const read = async (part: string) => documentsOf(new TextDecoder().decode(await prose.read(`${part}.txt`)))
  return { train: await read('train'), validation: await read('validation'), test: await read('test') }
}

/** @throws Error naming a file that is no text. */
async function readTexts(folder: Source): Promise<string[]> {
  const documents: string[] = []
  for (const path of await folder.list()) {
    try {
      documents.push(...documentsOf(new TextDecoder('utf-8', { fatal: true }).decode(await folder.read(path))))
    } catch {
      throw new Error(`${path}: is not UTF-8 text; drop plain text files to train on`)
    }
  }
  if (documents.length === 0) throw new Error('The dropped files have no text in them; drop plain text files')
  return documents
}

/** Stages in the work folder. The curve of one that goes on is put into `past`, for the page to show. */
function stagesIn(work: Folder, fingerprint: string, past: ConvertNews[]): StageStore {
  const file = (stage: string) => `stages/${stage}.safetensors`
  return {
    every: 10,
    save: (stage, state) => saveCheckpoint(work, file(stage), state, fingerprint),
    async resume(stage) {
      if (!(await work.list()).includes(file(stage))) return undefined
      const state = await resumeFrom(work, file(stage), fingerprint)
      const [, row, phase] = /^(.*)\.(\w+)$/.exec(stage)!
      past.push({ kind: 'curve', phase: `${phase} ${row}`, points: state.curve })
      return state
    },
  }
}

async function* shown<T>(job: Job<T>): AsyncGenerator<ConvertNews, T, void> {
  return yield* withPast(job, [])
}

/** Progress as news, with what `past` has by then before it. */
async function* withPast<T>(job: Job<T>, past: ConvertNews[]): AsyncGenerator<ConvertNews, T, void> {
  for (;;) {
    const next: IteratorResult<Progress, T> = await job.next()
    yield* past.splice(0)
    if (next.done) return next.value
    yield { kind: 'progress', progress: next.value }
  }
}

function reportFor(
  job: ConvertJob,
  conversion: Conversion,
  { tokenizer }: Loaded,
  stored: Stored,
  seconds: number,
): Promise<Report> {
  const facts = {
    name: stored.model,
    command: commandOf(
      stored.site ?? stored.model,
      stored.ownTexts ? 'texts.txt' : '.cache/brown/train.txt',
      stored.choices,
    ),
    versions: { hedgehog: HEDGEHOG_VERSION, 'onnxruntime-web': ENGINE_VERSION },
    seconds,
  }
  return reportOf(job, conversion, facts, (id) => tokenizer.decode([id]))
}

/** Stores the model under a name that is still free. */
async function saved(
  places: Shelf,
  { model, choices }: Stored,
  conversion: Conversion,
  { tokenizer }: Loaded,
  report: Report,
): Promise<ConvertResult> {
  const plain = `${model
    .split('/')
    .at(-1)!
    .replace(/\.(zip|gguf)$/i, '')}-${choices.map}`.replaceAll(/[^\w.+-]+/g, '-')
  const taken = new Set((await places.folder(conversionsFolder).list()).map((path) => path.split('/')[0]))
  let name = plain
  for (let i = 2; taken.has(name); i++) name = `${plain}-${i}`
  const folder = places.folder(`${conversionsFolder}/${name}`)
  await writeJson(folder, 'report.json', report)
  await folder.write('report.html', [new TextEncoder().encode(reportHtml(report))])
  await saveModel(folder, conversion.model, { tokenizer: tokenizer.json })
  return { name, report, stored: places.lasts }
}

/** One conversion at a time, in all tabs. @throws Error when another tab converts. */
async function lock(): Promise<() => void> {
  const { locks } = navigator
  if (!locks) return () => {}
  return new Promise((resolve, reject) => {
    void locks.request('hedgehog-convert', { ifAvailable: true }, (held) => {
      if (!held) {
        reject(new Error('Another tab of this page converts a model; wait for it, or close that tab, then try again'))
        return undefined
      }
      return new Promise<void>((done) => resolve(done))
    })
  })
}

/** What the build puts in. */
declare const HEDGEHOG_VERSION: string
declare const ENGINE_VERSION: string
