/** How much text tokens stand for. */

import type { Tokenizer } from './tokenizer.ts'

/** The UTF-8 bytes of the text of some tokens; tokens that end a document stand for none. */
export function textBytes(tokenizer: Tokenizer, ids: Int32Array): number {
  const { endOfText } = tokenizer
  const encoder = new TextEncoder()
  let bytes = 0
  for (let start = 0; start < ids.length; ) {
    const found = endOfText === undefined ? -1 : ids.indexOf(endOfText, start)
    const end = found < 0 ? ids.length : found
    bytes += encoder.encode(tokenizer.decode(ids.subarray(start, end))).length
    start = end + 1
  }
  return bytes
}
