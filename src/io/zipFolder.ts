/** A zip archive as the folder that it holds. */

import type { Source } from './files.ts'
import { openZip } from './zip.ts'

/**
 * The files of an archive; where all of them are below one folder, that folder is what they are relative to, as archives of a
 * folder are made.
 * @throws Error naming the file when it is no archive, or a damaged one.
 */
export async function zipFolder(source: Source, path: string): Promise<Source> {
  const where = `${source.name}/${path}`
  const members = new Map([...(await openZip(source, path))].filter(([name]) => !name.endsWith('/')))
  const prefix = commonFolder([...members.keys()])
  const memberOf = (file: string) => {
    const found = members.get(prefix + file)
    if (!found) throw new Error(`${where}: has no file ${file}`)
    return found
  }
  return {
    name: where,
    list: async () => [...members.keys()].map((name) => name.slice(prefix.length)).sort(),
    size: async (file) => memberOf(file).size,
    read: async (file, start = 0, end = memberOf(file).size, into?) => memberOf(file).read(start, end, into),
  }
}

function commonFolder([first = '', ...rest]: readonly string[]): string {
  const prefix = first.slice(0, first.indexOf('/') + 1)
  return rest.every((name) => name.startsWith(prefix)) ? prefix : ''
}
