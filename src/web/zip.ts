/** Folders as one zip file to download. */

import type { Source } from '../io/files.ts'
import { type ZipInput, zipBytes } from '../io/zipWrite.ts'

const pieceBytes = 2 ** 22

/** All files of a source as a zip archive, for a person to save; `hedgehog` and the page open it again. */
export async function zipped(source: Source): Promise<Blob> {
  const files: ZipInput[] = []
  for (const path of await source.list()) {
    const size = await source.size(path)
    files.push({ path, size, bytes: () => piecesOf(source, path, size) })
  }
  const parts: Blob[] = []
  // Blobs may lie on disk, so that a large model is not in memory as a whole.
  for await (const part of zipBytes(files)) parts.push(new Blob([part]))
  return new Blob(parts, { type: 'application/zip' })
}

async function* piecesOf(source: Source, path: string, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size; at += pieceBytes) yield source.read(path, at, Math.min(size, at + pieceBytes))
}
