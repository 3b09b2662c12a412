/** Digests: short names of contents, by which damage is noticed and jobs are told apart; no protection against intent. */

/**
 * A digest of 64 bits of texts and arrays, as 16 hexadecimal digits: equal for equal parts in the same order, and,
 * but for a chance of 2^-64, only for those.
 */
export function digestOf(parts: Iterable<string | ArrayBufferView>): string {
  let [a, b] = [0x9e3779b9, 0x85ebca6b]
  for (const part of parts) {
    const view = typeof part === 'string' ? new TextEncoder().encode(part) : part
    const words = wordsOf(view)
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!
      a = Math.imul((a << 5) | (a >>> 27), 0xcc9e2d51) ^ word
      b = Math.imul(b ^ word, 0x1b873593)
      b ^= b >>> 15
    }
    // The length tells parts apart, and zeros at an end.
    a = Math.imul(a ^ view.byteLength, 0x85ebca6b)
    b = Math.imul(b ^ view.byteLength, 0xc2b2ae35)
  }
  return [mixed(a ^ (b >>> 3)), mixed(b + a)].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('')
}

/** The bytes of a view as whole words, filled up with zeros. */
function wordsOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Int32Array {
  if (byteOffset % 4 === 0 && byteLength % 4 === 0) return new Int32Array(buffer, byteOffset, byteLength / 4)
  const filled = new Uint8Array(Math.ceil(byteLength / 4) * 4)
  filled.set(new Uint8Array(buffer, byteOffset, byteLength))
  return new Int32Array(filled.buffer)
}

/** Spreads every bit over the whole word (the finalizer of MurmurHash3). */
function mixed(word: number): number {
  let x = word
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return x ^ (x >>> 16)
}
