/** Models of the Hugging Face Hub by name, downloaded once into the cache that all its tools share. */

import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  downloadFile as blobOf,
  fileDownloadInfo,
  getHFHubCachePath,
  getRepoFolderName,
  HubApiError,
  listFiles,
  modelInfo,
} from '@huggingface/hub'
import type { Job, Progress } from '../base/progress.ts'
import { weightFiles } from '../io/checkpoint.ts'
import type { Source } from '../io/files.ts'
import { folderSource, reason } from './files.ts'
import { downloadFile, type HubFile, type OpenBytes, WrongContent } from './hubFile.ts'
import type { HubId } from './hubId.ts'

/** Where the Hub and its cache are; the defaults are those of its other tools. */
export interface HubOptions {
  /** Default: the environment's HF_ENDPOINT, else https://huggingface.co. */
  readonly hubUrl?: string
  /** Default: as the environment's HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME say, else ~/.cache/huggingface/hub. */
  readonly cacheDir?: string
  /** For models that are not public. Default: the environment's HF_TOKEN. */
  readonly accessToken?: string
  /** Whether only the cache is used. Default: whether the environment's HF_HUB_OFFLINE is set. */
  readonly offline?: boolean
  /** How often a broken download is taken up again. Default 4. */
  readonly retries?: number
  /** Milliseconds before the first of them; each next waits twice as long. Default 1000. */
  readonly retryDelay?: number
}

/** Files beside the weights that tell what a model is; all are small. */
const sideFiles =
  /^((generation_|tokenizer_|preprocessor_|adapter_)?config|tokenizer|special_tokens_map|added_tokens|vocab)\.json$|^(vocab|merges)\.txt$|^chat_template\.jinja$/

const adapterFiles = /^(adapter_model\.(safetensors|bin)|adapters\.safetensors)$/

/**
 * Downloads what a model needs, and gives its folder in the cache. What is there is not downloaded again; what was
 * broken off goes on. Without a network the cache serves. Progress is in megabytes.
 * @throws Error in one line when there is no such model, the Hub cannot be reached and the cache has none, or content
 * is not what the Hub lists.
 */
export async function* hubFolder(id: HubId, options: HubOptions = {}): Job<Source> {
  const hub = settings(id, options)
  const isCommit = /^[0-9a-f]{40}$/.test(id.revision)
  const known = await cachedCommit(hub, isCommit)
  if (known && (isCommit || hub.offline)) return snapshotSource(hub, known)
  if (hub.offline) throw new Error(`${hub.name}: is not in ${hub.cacheDir}, and the Hub is not to be asked (offline)`)
  let commit: string
  let files: readonly HubFile[]
  try {
    commit = await commitOf(hub)
    files = await filesOf(hub, commit)
  } catch (error) {
    if (!known || error instanceof HubApiError) throw new Error(`${hub.name}: ${reasonOf(error)}`, { cause: error })
    return snapshotSource(hub, known)
  }
  yield* download(hub, commit, files)
  await writeRef(hub, commit)
  return snapshotSource(hub, commit)
}

interface Hub extends Required<Omit<HubOptions, 'accessToken' | 'hubUrl'>> {
  readonly name: string
  readonly id: HubId
  /** The model's folder in the cache. */
  readonly folder: string
  /** What every call of the library is given. */
  readonly access: { readonly hubUrl?: string; readonly accessToken?: string; readonly fetch: typeof fetch }
}

/** The longest that a question to the Hub may take, in milliseconds. */
const patience = 20_000

function settings(id: HubId, options: HubOptions): Hub {
  const { env } = process
  const cacheDir = options.cacheDir ?? getHFHubCachePath()
  const hubUrl = options.hubUrl ?? env.HF_ENDPOINT
  const accessToken = options.accessToken ?? env.HF_TOKEN
  const patientFetch: typeof fetch = (url, init) => fetch(url, { ...init, signal: AbortSignal.timeout(patience) })
  return {
    name: `hub:${id.repo}`,
    id,
    cacheDir,
    folder: join(cacheDir, getRepoFolderName({ name: id.repo, type: 'model' })),
    offline: options.offline ?? /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ''),
    retries: options.retries ?? 4,
    retryDelay: options.retryDelay ?? 1000,
    access: { ...(hubUrl && { hubUrl }), ...(accessToken && { accessToken }), fetch: patientFetch },
  }
}

/** The commit whose snapshot the cache has; it is written down when all of a snapshot has come. */
async function cachedCommit({ folder, id: { revision } }: Hub, isCommit: boolean): Promise<string | undefined> {
  const noted = isCommit ? revision : (await readFile(join(folder, 'refs', revision), 'utf8').catch(() => '')).trim()
  if (!/^[0-9a-f]{40}$/.test(noted)) return undefined
  return (await stat(join(folder, 'snapshots', noted)).catch(() => undefined))?.isDirectory() ? noted : undefined
}

async function writeRef({ folder, id: { revision } }: Hub, commit: string): Promise<void> {
  if (revision === commit) return
  const path = join(folder, 'refs', revision)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, commit)
}

function snapshotSource({ folder, name, id }: Hub, commit: string): Source {
  const source = folderSource(join(folder, 'snapshots', commit))
  const { file } = id
  // Of several GGUF files the cache may have more than the one that was asked for.
  const list = async () => (await source.list()).filter((path) => !file || path === file || !path.endsWith('.gguf'))
  return { ...source, name, list }
}

async function commitOf({ access, id }: Hub): Promise<string> {
  const info = await modelInfo({ ...access, name: id.repo, revision: id.revision, additionalFields: ['sha'] })
  if (/^[0-9a-f]{40}$/.test(info.sha)) return info.sha
  throw new Error(`the Hub tells the commit ${JSON.stringify(info.sha)}, want 40 hexadecimal digits`)
}

async function filesOf({ access, id }: Hub, commit: string): Promise<HubFile[]> {
  const files: HubFile[] = []
  for await (const entry of listFiles({ ...access, repo: id.repo, revision: commit, recursive: true })) {
    if (entry.type !== 'file') continue
    const hash = entry.lfs?.oid ?? entry.oid ?? ''
    const isSafe = /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash) && Number.isSafeInteger(entry.size) && entry.size >= 0
    if (!isSafe || !isInside(entry.path)) {
      throw new Error(
        `the Hub lists ${JSON.stringify(entry.path).slice(0, 80)} with a path, size or hash that cannot be`,
      )
    }
    files.push({ path: entry.path, size: entry.size, hash })
  }
  return files
}

function isInside(path: string): boolean {
  const parts = path.split('/')
  return !/[\\:\p{Cc}]/u.test(path) && parts.every((part) => part !== '' && part !== '.' && part !== '..')
}

async function* download(hub: Hub, commit: string, files: readonly HubFile[]): AsyncGenerator<Progress, void, void> {
  const began = performance.now()
  const byPath = new Map(files.map((file) => [file.path, file]))
  const fetchFile = (path: string) => fetchInto(hub, commit, byPath.get(path)!)
  const wanted = await wantedFiles(hub, commit, byPath, fetchFile)
  const total = wanted.reduce((sum, path) => sum + byPath.get(path)!.size, 0)
  let before = 0
  let told = -1
  for (const path of wanted) {
    for await (const bytes of fetchFile(path)) {
      const step = Math.floor((before + bytes) / 1e6)
      if (step > told) yield { phase: 'download', step, steps: Math.ceil(total / 1e6), seconds: secondsSince(began) }
      told = step
    }
    before += byPath.get(path)!.size
  }
  const steps = Math.ceil(total / 1e6)
  if (told < steps) yield { phase: 'download', step: steps, steps, seconds: secondsSince(began) }
}

const secondsSince = (began: number): number => (performance.now() - began) / 1000

/** Which files a model needs: those that tell what it is, and its weights, whose index may have to come first. */
async function wantedFiles(
  hub: Hub,
  commit: string,
  files: ReadonlyMap<string, HubFile>,
  fetchFile: (path: string) => AsyncIterable<number>,
): Promise<string[]> {
  const paths = [...files.keys()]
  const side = paths.filter((path) => sideFiles.test(path))
  const { file } = hub.id
  if (file !== undefined && !files.has(file)) throw new Error(`${hub.name}: has no file ${file}`)
  const adapters = paths.filter((path) => adapterFiles.test(path))
  if (file !== undefined) return [...side, file]
  if (adapters.length > 0 && !files.has('config.json')) return [...side, ...adapters]
  const snapshot = folderSource(join(hub.folder, 'snapshots', commit))
  const remote: Source = {
    name: hub.name,
    list: async () => paths,
    size: async (path) => files.get(path)!.size,
    async read(path, start, end) {
      for await (const _ of fetchFile(path));
      return snapshot.read(path, start, end)
    },
  }
  const weights = await weightFiles(remote)
  const missing = weights.find((path) => !files.has(path))
  if (missing) throw new Error(`${hub.name}: has no file ${missing}, which its index names`)
  return [...side, ...weights]
}

async function* fetchInto(hub: Hub, commit: string, file: HubFile): AsyncGenerator<number, void, void> {
  const { access, id, folder } = hub
  const folders = { blobs: join(folder, 'blobs'), snapshot: join(folder, 'snapshots', commit) }
  const openBytes: OpenBytes = async (start) => {
    const at = { ...access, repo: id.repo, path: file.path, revision: commit }
    const downloadInfo = await fileDownloadInfo(at)
    if (!downloadInfo) throw new WrongContent(`${file.path}: the Hub lists it and does not have it`)
    // Questions are timed, a download is not: it takes as long as it takes.
    const blob = await blobOf({ ...at, fetch, xet: false, downloadInfo })
    return blob!.slice(start, file.size).stream() as unknown as AsyncIterable<Uint8Array>
  }
  for (let attempt = 0; ; attempt++) {
    try {
      return yield* downloadFile(folders, file, openBytes)
    } catch (error) {
      if (isFinal(error)) throw new Error(`${hub.name}: ${reasonOf(error)}`, { cause: error })
      if (attempt >= hub.retries)
        throw new Error(`${hub.name}: ${reasonOf(error)}; run again to go on`, { cause: error })
      await sleep(hub.retryDelay * 2 ** attempt)
    }
  }
}

/** Whether to try again would not help: the Hub refuses, content is wrong, or the disk is at fault. */
function isFinal(error: unknown): boolean {
  return error instanceof WrongContent || error instanceof HubApiError || isDiskError(error)
}

function isDiskError(error: unknown): boolean {
  return (
    error instanceof Error && 'syscall' in error && ['open', 'write', 'mkdir', 'fsync'].includes(`${error.syscall}`)
  )
}

function reasonOf(error: unknown): string {
  if (error instanceof HubApiError) {
    if (error.statusCode === 404) return 'no such model or revision on the Hub'
    if (error.statusCode === 401 || error.statusCode === 403) {
      return 'no such model on the Hub, or one that needs access: set HF_TOKEN to a token that has it'
    }
    return `the Hub answers with status ${error.statusCode}`
  }
  if (isDiskError(error)) return `not written: ${reason(error)}`
  const { message, cause, name } = error instanceof Error ? error : new Error(String(error))
  if (name === 'TimeoutError') return `the Hub does not answer within ${patience / 1000} seconds`
  if (message === 'fetch failed')
    return `the Hub cannot be reached (${cause instanceof Error ? cause.message : 'no reason given'})`
  return message.split('\n')[0]!
}
