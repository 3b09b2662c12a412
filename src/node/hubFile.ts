/** One file of the Hub into the cache: goes on where a download was broken off, and checks what came. */

import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, rm, stat, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { reason } from './files.ts'

/** A file as the Hub lists it. */
export interface HubFile {
  readonly path: string
  readonly size: number
  /** SHA-256 of the content for large files, git's SHA-1 of a blob for others; it names the file in the cache. */
  readonly hash: string
}

/** Opens the bytes of a file from one on. */
export type OpenBytes = (start: number) => Promise<AsyncIterable<Uint8Array>>

/**
 * Brings a file into `blobs` under its hash, and links it into the snapshot; a file that is there is only linked.
 * Yields the bytes that are there so far. What came before a break is kept, and a next call goes on from it.
 * @throws Error naming the file when the connection breaks, or the bytes are not those that the hash tells.
 */
export async function* downloadFile(
  folders: { readonly blobs: string; readonly snapshot: string },
  file: HubFile,
  openBytes: OpenBytes,
): AsyncGenerator<number, void, void> {
  const blob = join(folders.blobs, file.hash)
  const found = await stat(blob).catch(() => undefined)
  if (found?.size !== file.size) {
    await mkdir(folders.blobs, { recursive: true })
    yield* fill(`${blob}.incomplete`, file, openBytes)
    await rename(`${blob}.incomplete`, blob)
  }
  yield file.size
  await link(blob, join(folders.snapshot, file.path))
}

async function* fill(path: string, file: HubFile, openBytes: OpenBytes): AsyncGenerator<number, void, void> {
  const handle = await open(path, 'a')
  try {
    let done = (await handle.stat()).size
    if (done > file.size) {
      await handle.truncate(0)
      done = 0
    }
    const hash = hashOf(file)
    if (done > 0) for await (const part of createReadStream(path)) hash.update(part as Uint8Array)
    yield done
    if (done < file.size) {
      for await (const part of await openBytes(done)) {
        done += part.length
        if (done > file.size) break
        await handle.appendFile(part)
        hash.update(part)
        yield done
      }
    }
    if (done < file.size) throw new Error(`${file.path}: the connection ended at ${done} of ${file.size} bytes`)
    await handle.sync()
    const digest = hash.digest('hex')
    if (done !== file.size || digest !== file.hash) {
      await rm(path, { force: true })
      throw new WrongContent(`${file.path}: got content of the hash ${digest}, want ${file.hash}; it is not kept`)
    }
  } finally {
    await handle.close()
  }
}

/** A file that came whole and is another one: to try again would not help. */
export class WrongContent extends Error {
  override readonly name = 'WrongContent'
}

function hashOf({ hash, size }: HubFile): Hash {
  return hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}

/** Links are relative, so that a cache can be moved; where there are none, a hard link does. */
async function link(blob: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true })
  if (await stat(target).catch(() => undefined)) return
  await rm(target, { force: true })
  await symlink(relative(dirname(target), blob), target).catch(async (error) => {
    const { link: hardLink } = await import('node:fs/promises')
    await hardLink(blob, target).catch(() => {
      throw new Error(`${target}: cannot be linked: ${reason(error)}`, { cause: error })
    })
  })
}
