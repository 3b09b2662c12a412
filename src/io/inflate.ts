/** A range of what a deflate stream holds; inflating ends with the range, so that a bomb takes no memory. */

import type { ReadRange } from './encodings.ts'

/** Compressed bytes that are read at a time. */
const piece = 2 ** 16

/**
 * Bytes [start, end) of what `packed` compressed bytes inflate to (RFC 1951).
 * @throws Error beginning with `where` when they are no deflate stream, or inflate to less.
 */
export async function inflateRange(
  where: string,
  read: ReadRange,
  packed: number,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const result = new Uint8Array(end - start)
  const reader = compressedStream(read, packed).pipeThrough(new DecompressionStream('deflate-raw')).getReader()
  let at = 0
  try {
    while (at < end) {
      const { done, value } = await reader.read()
      if (done) throw new Error(`inflates to ${at} bytes, want at least ${end}`)
      const from = Math.max(start - at, 0)
      if (from < value.length) result.set(value.subarray(from, Math.min(value.length, end - at)), at + from - start)
      at += value.length
    }
    return result
  } catch (error) {
    throw new Error(`${where}: cannot be inflated: ${(error as Error).message}`, { cause: error })
  } finally {
    await reader.cancel().catch(() => {})
  }
}

function compressedStream(read: ReadRange, packed: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0
  return new ReadableStream({
    async pull(controller) {
      const next = Math.min(at + piece, packed)
      if (next > at) controller.enqueue(new Uint8Array(await read(at, next)))
      at = next
      if (at === packed) controller.close()
    },
  })
}
