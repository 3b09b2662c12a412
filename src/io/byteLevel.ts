/** Byte-level text as GPT-2 has it: how text is cut into words, and the printable letter that stands for each byte. */

/**
 * A word as GPT-2 cuts text: a contraction, or letters, digits or other marks with the space before them.
 * Source: `encoder.py` of the GPT-2 release. The words of a text, joined, are the text.
 */
export const wordPattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu

/**
 * The letter for each of the 256 bytes: printable ones of Latin-1 stand for themselves, the others, in order, are
 * U+0100 and up, so that a space is `Ġ`.
 */
export const byteLetters: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  String.fromCharCode(isPrintable(byte) ? byte : 256 + countUnprintable(byte)),
)

/** The letters in the order of GPT-2's first 256 ids: the printable bytes, then the others. */
export const alphabet: readonly string[] = [...byteLetters].sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0))

function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
}

function countUnprintable(end: number): number {
  let count = 0
  for (let byte = 0; byte < end; byte++) if (!isPrintable(byte)) count++
  return count
}
