/** What long commands share: a folder whose work outlives the process, however that ends, and is gone on from. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf } from '../base/digest.ts'
import { Interrupted, UsageError } from '../base/errors.ts'
import type { Ledger } from '../base/ledger.ts'
import type { Job } from '../base/progress.ts'
import type { Sink, Store } from '../io/files.ts'
import { readJson, writeJson } from '../models/folder.ts'
import type { Json } from '../models/model.ts'
import { folderSource, folderStore } from '../node/files.ts'
import { discard, tidyFolder } from '../node/together.ts'
import { checkFingerprint } from '../train/checkpoint.ts'
import { type StateFiles, stateFiles } from '../train/stateFiles.ts'
import type { Context } from './command.ts'
import { makeFolder, writeTogether } from './inputs.ts'

/** Where a job keeps what only it needs, below its output folder. */
const work = 'work'
/** What it was asked to do. */
const jobFile = 'job.json'

/** Options that the commands of jobs have. */
export interface JobOptions {
  readonly out: string
  /** Files of others in the folder are replaced. */
  readonly force: boolean
  /** Goes on with the job that is in the folder; begins it where there is none. */
  readonly resume: boolean
  /** States of a stage that are kept besides the best. */
  readonly keep?: number
  /** The command that goes on with the job. Default: the one that was given, with --resume. */
  readonly again?: string
}

/** An output folder that was looked at, before anything is loaded. */
export interface JobFolder {
  /**
   * Begins a job, or takes it up again.
   * @param settings all that determines its result
   * @throws Error when the folder has a job of other settings.
   */
  begin(settings: object): Promise<BegunJob>
}

/** A job that runs. */
export interface BegunJob {
  /** What the result file of this very job holds, when it was finished before. */
  readonly finished?: Json
  readonly stages: StateFiles
  readonly ledger: Ledger
  /** Runs a part of the job. What it throws says where its work is kept, and, when it was interrupted, how to go on. */
  run<T>(job: Job<T>): Promise<T>
  /** Puts the results in place, all together, and removes what only the unfinished job needed. */
  finish(write: (sink: Sink) => Promise<void>): Promise<void>
}

/**
 * Looks at a job's output folder, and tidies up what an ended process left in it.
 * @param resultFile a JSON file of the result with the job's `settings`, by which a finished job is recognised
 * @throws UsageError when it has files that are not the job's and `force` is off.
 */
export async function openJob(context: Context, options: JobOptions, resultFile: string): Promise<JobFolder> {
  const { out, force, resume } = options
  await tidyFolder(out)
  const found: readonly string[] = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw new UsageError(`--out: ${out}: ${error.code === 'ENOTDIR' ? 'is a file, want a folder' : error.message}`)
  })
  const isJobs = resume && [work, resultFile].some((name) => found.includes(name))
  // What begins with a dot is no result.
  const other = found.find((name) => !name.startsWith('.'))
  if (other !== undefined && !force && !isJobs) throw notEmpty(options, other)
  return { begin: (settings) => begin(context, options, resultFile, settings) }
}

function notEmpty({ out, again }: JobOptions, file: string): UsageError {
  const resume = again === undefined ? ' pass --resume to go on with an interrupted job,' : ''
  return new UsageError(
    `--out: ${out} is not empty (${file}); choose another folder,${resume} or --force to replace its files`,
  )
}

async function begin(context: Context, options: JobOptions, resultFile: string, settings: object): Promise<BegunJob> {
  const { out, resume, keep } = options
  const say = (line: string) => context.say(line)
  const fingerprint = JSON.stringify(settings)
  const store = folderStore(join(out, work))
  const found = resume ? await readSettings(store, jobFile) : undefined
  if (found !== undefined) checkFingerprint(out, `${work}/${jobFile}`, found, fingerprint)
  const finished = resume && found === undefined ? await finishedJob(options, resultFile, fingerprint, say) : undefined
  if (finished === undefined && found === undefined) {
    await makeFolder(out)
    if (!resume) await discard(out, work)
    await writeJson(store, jobFile, { settings })
  }
  const stages = stateFiles(store, {
    fingerprint,
    say,
    ...(keep !== undefined && { keep }),
    check: () => checkThere(out, store),
  })
  const ledger = await openLedger(store, say, () => checkThere(out, store))
  const explained = (error: Error) => told(error, context, options, stages.last())
  return {
    ...(finished && { finished }),
    stages,
    ledger,
    run: (job) =>
      context.run(job).catch(async (error: Error) => {
        // What failed before there was anything to keep leaves nothing behind.
        const isEmpty = !stages.last() && Object.keys(ledger.done).length === 0
        if (isEmpty && !(error instanceof Interrupted)) await discard(out, work).catch(() => {})
        throw explained(error)
      }),
    async finish(write) {
      await writeTogether(out, write).catch((error: Error) => {
        throw explained(error)
      })
      await discard(out, work)
    },
  }
}

/** The settings in a file as text; undefined where there are none, or no longer. */
async function readSettings(store: Pick<Store, 'list' | 'read' | 'size' | 'name'>, file: string) {
  const { settings } = await readJson(store, file).catch((): Json => ({}))
  return settings === undefined ? undefined : JSON.stringify(settings)
}

async function finishedJob(
  options: JobOptions,
  resultFile: string,
  fingerprint: string,
  say: (line: string) => void,
): Promise<Json | undefined> {
  const { out, force } = options
  const source = folderSource(out)
  const was = await readSettings(source, resultFile)
  if (was === fingerprint) {
    say(`${out}: this job was finished before; --force does it again`)
    return readJson(source, resultFile)
  }
  if (force) return undefined
  if (was !== undefined) checkFingerprint(out, resultFile, was, fingerprint)
  if ((await source.list().catch((): readonly string[] => [])).includes(resultFile)) throw notEmpty(options, resultFile)
  return undefined
}

/** A folder that is gone, such as that of a drive, would be made anew elsewhere. */
async function checkThere(out: string, store: Store): Promise<void> {
  await store.size(jobFile).catch((cause) => {
    throw new Error(`${out}: not written: the folder has vanished while the job ran; bring it back`, { cause })
  })
}

/** A ledger with a file for each note. */
async function openLedger(store: Store, say: (line: string) => void, check: () => Promise<void>): Promise<Ledger> {
  const fileOf = (name: string) => `done/${name.replaceAll(/[^\w.:+-]/g, '_')}-${digestOf([name]).slice(0, 8)}.json`
  const done: Record<string, unknown> = {}
  const files = await store.list().catch((): readonly string[] => [])
  for (const file of files.filter((one) => one.startsWith('done/') && one.endsWith('.json'))) {
    const { name, text, digest } = await readJson(store, file).catch((): Json => ({}))
    if (typeof name === 'string' && typeof text === 'string' && digest === digestOf([name, text])) {
      done[name] = JSON.parse(text, readBack)
    } else {
      say(`${store.name}/${file}: is damaged; it is left out`)
      await store.remove(file)
    }
  }
  return {
    done,
    async note(name, value) {
      await check()
      const text = JSON.stringify(value, written)
      const digest = digestOf([name, text])
      await store.write(fileOf(name), [new TextEncoder().encode(JSON.stringify({ name, digest, text }))])
      // What is noted is what would be read again.
      done[name] = JSON.parse(text, readBack)
    },
  }
}

/** JSON has no numbers that are not finite; measurements may. */
function written(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? { notFinite: String(value) } : value
}

function readBack(_key: string, value: unknown): unknown {
  const text = Object(value).notFinite
  return typeof text === 'string' ? Number(text) : value
}

/** A command line that goes on with what it finds: without --force, which may begin anew. */
export function unforced(commandLine: string): string {
  return commandLine.replace(/ --force(?= |$)/, '')
}

/** How a job that was interrupted, or failed, is gone on with. */
function told(error: Error, { commandLine }: Context, options: JobOptions, last: string | undefined): Error {
  const { out, resume, again: given = unforced(commandLine) + (resume ? '' : ' --resume') } = options
  const again = `go on with: ${given}`
  if (error instanceof Interrupted) return new Interrupted(`${error.message}; saved in ${join(out, work)}; ${again}`)
  if (error instanceof UsageError || (last === undefined && !error.message.includes('not written'))) return error
  const good = `the last good state is ${last ?? 'none: it begins anew'}`
  const how = error.message.includes('not written') ? `; ${again}` : ''
  return new Error(`${error.message}; ${good}${how}`, { cause: error })
}
