/** Folders on disk as the {@link Source} and {@link Sink} of the portable layers; writes are atomic. */

import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Sink, Source, Store } from '../io/files.ts'

/**
 * The files of a folder, read on demand; nothing is opened until it is read.
 * Every method throws an Error that names the folder or file when it is missing.
 */
export function folderSource(path: string): Source {
  const root = resolve(path)
  return {
    name: path,
    async list() {
      await checkFolder(root, path)
      const entries = await readdir(root, { recursive: true, withFileTypes: true })
      const prefix = root.endsWith('/') || root.endsWith('\\') ? root.length : root.length + 1
      const files: string[] = []
      for (const entry of entries) {
        const full = join(entry.parentPath, entry.name)
        if (entry.isFile() || (entry.isSymbolicLink() && (await leadsToFile(full)))) {
          files.push(full.slice(prefix).replaceAll('\\', '/'))
        }
      }
      return files.sort()
    },
    async size(file) {
      const full = inside(root, path, file)
      const found = await stat(full).catch((error) => missing(error, root, path, file))
      if (!found.isFile()) throw new Error(`${path}: ${file} is a folder, want a file`)
      return found.size
    },
    read: (file, start = 0, end, into) => readRange(root, path, file, [start, end], into),
  }
}

/**
 * A folder to write into, made when the first file is written.
 * A failed write leaves the old file and no temporary one, and throws one line that says why, e.g. `disk full`.
 */
export function folderSink(path: string): Sink {
  const root = resolve(path)
  return {
    name: path,
    async write(file, parts) {
      const target = inside(root, path, file)
      const temporary = join(dirname(target), temporaryOf(basename(target)))
      try {
        await mkdir(dirname(target), { recursive: true })
        await writeSynced(temporary, parts)
        await rename(temporary, target)
        await syncFolder(dirname(target))
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {})
        throw new Error(`${join(path, file)}: not written: ${reason(error)}`, { cause: error })
      }
    },
  }
}

/** A folder that is read, written and cleared; see {@link folderSource} and {@link folderSink}. */
export function folderStore(path: string): Store {
  const root = resolve(path)
  return {
    ...folderSource(path),
    ...folderSink(path),
    async remove(file) {
      const full = inside(root, path, file)
      await rm(full, { force: true })
      await syncFolder(dirname(full))
    },
  }
}

/** What a file is called until it is whole. */
export const temporaryOf = (file: string) => `.${file}.${process.pid}.tmp`

/**
 * Removes the files that were being written in a folder, and in those inside of it, when their process was killed.
 * Those of a process that still runs stay.
 */
export async function removeTemporaries(path: string): Promise<void> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => [])
  for (const entry of entries) {
    const pid = /^\..+\.(\d+)\.tmp$/.exec(entry.name)?.[1]
    if (entry.isFile() && pid !== undefined && !isRunning(Number(pid))) {
      await rm(join(entry.parentPath, entry.name), { force: true })
    }
  }
}

function isRunning(pid: number): boolean {
  // What this process began, it ended or removed before it looks for what is left.
  if (pid === process.pid) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return code(error) === 'EPERM'
  }
}

/** The cache of the Hub is made of links to files. */
async function leadsToFile(link: string): Promise<boolean> {
  return (await stat(link).catch(() => undefined))?.isFile() ?? false
}

async function readRange(
  root: string,
  path: string,
  file: string,
  [start, end]: readonly [number, number | undefined],
  into?: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const full = inside(root, path, file)
  const handle = await open(full, 'r').catch((error) => missing(error, root, path, file))
  try {
    const found = await handle.stat()
    if (!found.isFile()) throw new Error(`${path}: ${file} is a folder, want a file`)
    const { size } = found
    const stop = end ?? size
    if (!(start >= 0 && start <= stop && stop <= size)) {
      throw new RangeError(`${join(path, file)}: got bytes [${start}, ${stop}), want a range within [0, ${size})`)
    }
    const length = stop - start
    const bytes = into && into.length >= length ? into.subarray(0, length) : new Uint8Array(length)
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await handle.read(bytes, done, Math.min(bytes.length - done, 2 ** 30), start + done)
      if (bytesRead === 0) throw new Error(`${join(path, file)}: became shorter while it was read`)
      done += bytesRead
    }
    return bytes
  } finally {
    await handle.close()
  }
}

async function writeSynced(file: string, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const handle = await open(file, 'w')
  try {
    for await (const part of parts) {
      for (let done = 0; done < part.length; ) {
        const { bytesWritten } = await handle.write(part, done, Math.min(part.length - done, 2 ** 30))
        done += bytesWritten
      }
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes the rename itself durable; file systems and platforms that cannot sync a folder are left as they are. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

/** The full path of `file`, which may come from a checkpoint's index and so must not lead out of the folder. */
function inside(root: string, path: string, file: string): string {
  const full = resolve(root, file)
  if (full === root || !full.startsWith(root.endsWith('/') || root.endsWith('\\') ? root : join(root, '/'))) {
    throw new Error(`${path}: got the file name ${JSON.stringify(file)}, want one inside the folder`)
  }
  return full
}

async function checkFolder(root: string, path: string): Promise<void> {
  const found = await stat(root).catch(() => undefined)
  if (!found) throw new Error(`${path}: no such folder`)
  if (!found.isDirectory()) throw new Error(`${path}: is a file, want a folder`)
}

async function missing(error: unknown, root: string, path: string, file: string): Promise<never> {
  if (code(error) !== 'ENOENT' && code(error) !== 'ENOTDIR') {
    throw new Error(`${join(path, file)}: cannot be read: ${reason(error)}`, { cause: error })
  }
  await checkFolder(root, path)
  throw new Error(`${path}: has no file ${file}`)
}

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'disk full',
  EDQUOT: 'disk quota exceeded',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  EISDIR: 'is a folder, want a file',
  ENOTDIR: 'a part of the path is a file, want a folder',
}

/** Why the file system refused something, in a few words. */
export function reason(error: unknown): string {
  return reasons[code(error)] ?? (error instanceof Error ? error.message : String(error))
}

function code(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
