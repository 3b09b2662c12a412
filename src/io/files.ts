/** The few file operations that hedgehog needs, so that the same code reads folders in Node and in a browser. */

/** A place with files, addressed by slash-separated paths relative to its root. */
export interface Source {
  /** For messages: where this is, e.g. the folder's path. */
  readonly name: string
  /** The names of all files, sorted. */
  list(): Promise<readonly string[]>
  /** The size of a file in bytes. @throws Error naming the file when it does not exist. */
  size(path: string): Promise<number>
  /**
   * Bytes [start, end) of a file, all of it by default.
   * @param into memory that may be used for them if it is large enough, so that reading in pieces leaves none behind
   * @throws Error naming the file, RangeError past its end.
   */
  read(path: string, start?: number, end?: number, into?: Uint8Array<ArrayBuffer>): Promise<Uint8Array>
}

/** A folder of a source, as a source of its own. */
export function subfolder(source: Source, folder: string): Source {
  const prefix = `${folder}/`
  return {
    name: `${source.name}/${folder}`,
    async list() {
      return (await source.list()).flatMap((path) => (path.startsWith(prefix) ? [path.slice(prefix.length)] : []))
    },
    size: (path) => source.size(prefix + path),
    read: (path, start, end) => source.read(prefix + path, start, end),
  }
}

/** A place that files can be written to; a write is atomic: the old content or the whole new one, never half. */
export interface Sink {
  readonly name: string
  /** Writes the concatenation of `parts` beside the target, syncs, and renames it into place. */
  write(path: string, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>
}

/** A folder that a job keeps files in: read, written and removed. */
export interface Store extends Source, Sink {
  /** Removes a file; one that is not there is no error. */
  remove(path: string): Promise<void>
}
