/** float16 and bfloat16 as they are stored: 16-bit words to float32 and back, rounded to nearest, ties to even. */

const two112 = 2 ** 112

/** The bits of all float16 values as float32, made when first needed: looking them up takes a third of computing them. */
let float16Bits: Uint32Array | undefined

/** The values of float16 words (IEEE 754 binary16), written to `values`; exact. */
export function fromFloat16(words: Uint16Array, values: Float32Array = new Float32Array(words.length)): Float32Array {
  float16Bits ??= Uint32Array.from({ length: 2 ** 16 }, (_, word) => bitsOfFloat16(word))
  const table = float16Bits
  const bits = bitsOf(values)
  for (let i = 0; i < words.length; i++) bits[i] = table[words[i]!]!
  return values
}

function bitsOfFloat16(word: number): number {
  const sign = (word & 0x8000) << 16
  if ((word & 0x7c00) === 0x7c00) return sign | 0x7f800000 | ((word & 0x3ff) << 13)
  // Shifted into place the exponent is 112 too small; the product mends it, for subnormal numbers too.
  const scratch = new Float32Array(1)
  bitsOf(scratch)[0] = (word & 0x7fff) << 13
  scratch[0] = scratch[0]! * two112
  return sign | bitsOf(scratch)[0]!
}

/** The nearest float16 words; what is past the largest float16 becomes infinity, NaN stays NaN. */
export function toFloat16(values: Float32Array): Uint16Array {
  const bits = bitsOf(values)
  const words = new Uint16Array(values.length)
  const scratch = new Float32Array(1)
  const scratchBits = new Uint32Array(scratch.buffer)
  for (let i = 0; i < values.length; i++) {
    const sign = (bits[i]! >>> 16) & 0x8000
    const size = bits[i]! & 0x7fffffff
    let word: number
    if (size > 0x7f800000) word = 0x7e00
    else if (size >= 0x47800000) word = 0x7c00
    else if (size >= 0x38800000) word = roundedShift(size - 0x38000000, 13)
    else {
      // One float32 step at 0.5 is 2^-24, the step of subnormal float16: the addition rounds.
      scratch[0] = Math.abs(values[i]!) + 0.5
      word = scratchBits[0]! - 0x3f000000
    }
    words[i] = sign | word
  }
  return words
}

/** The values of bfloat16 words, the upper halves of float32, written to `values`; exact. */
export function fromBfloat16(words: Uint16Array, values: Float32Array = new Float32Array(words.length)): Float32Array {
  const bits = bitsOf(values)
  for (let i = 0; i < words.length; i++) bits[i] = words[i]! << 16
  return values
}

/** The nearest bfloat16 words; NaN stays NaN. */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = bitsOf(values)
  const words = new Uint16Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const word = bits[i]!
    words[i] = (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 0x40 : roundedShift(word, 16)
  }
  return words
}

/** `word` without its last `by` bits, rounded to nearest, ties to even; a carry runs on into the exponent as it should. */
function roundedShift(word: number, by: number): number {
  return (word + 2 ** (by - 1) - 1 + ((word >>> by) & 1)) / 2 ** by
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length)
}
