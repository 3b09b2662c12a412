/** Weights in 4 or 8 bits: blocks along a row that share a scale, packed as ONNX Runtime's own operators read them. */

/** Bits that a weight can have. */
export type Bits = 4 | 8

/** How weights are quantised. */
export interface BlockSizes {
  readonly bits: Bits
  /** Numbers that share a scale: a power of two from 16. */
  readonly block: number
}

/** Rows in blocks: number i of a block is (code i − 2^(bits − 1)) · scale. */
export interface Quantized {
  /** (rows k·bits/8), low bits first. */
  readonly codes: Uint8Array
  /** (rows k/block) */
  readonly scales: Float32Array
}

/** The block size for rows of k numbers: 32, or 16 where that does not divide k; undefined where neither does. */
export function blockFor(k: number): number | undefined {
  return [32, 16].find((block) => k % block === 0)
}

/**
 * Rows of k numbers in blocks, each on the scale that makes its largest number the lowest code, then the scale that fits
 * its codes best.
 * @throws RangeError when blocks do not divide the rows.
 */
export function quantized(values: Float32Array, { bits, block }: BlockSizes): Quantized {
  if (values.length % block)
    throw new RangeError(`quantized: got ${values.length} numbers, want a multiple of ${block}`)
  const [codes, scales] = [new Uint8Array((values.length * bits) / 8), new Float32Array(values.length / block)]
  for (let i = 0; i < scales.length; i++) {
    scales[i] = quantizeBlock(values.subarray(i * block, (i + 1) * block), codes, (i * block * bits) / 8, bits)
  }
  return { codes, scales }
}

/** The numbers that blocks stand for. */
export function dequantized({ codes, scales }: Quantized, { bits, block }: BlockSizes): Float32Array {
  const half = 2 ** (bits - 1)
  const values = new Float32Array((codes.length * 8) / bits)
  for (let i = 0; i < values.length; i++) {
    const code = bits === 8 ? codes[i]! : (codes[i >> 1]! >> (4 * (i & 1))) & 15
    values[i] = (code - half) * scales[Math.floor(i / block)]!
  }
  return values
}

function quantizeBlock(values: Float32Array, codes: Uint8Array, at: number, bits: Bits): number {
  const half = 2 ** (bits - 1)
  let extreme = 0
  for (const value of values) if (Math.abs(value) > Math.abs(extreme)) extreme = value
  const inverse = extreme === 0 ? 0 : -half / extreme
  let [fit, weight] = [0, 0]
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    const step = Math.max(-half, Math.min(half - 1, Math.round(value * inverse)))
    fit += value * step
    weight += step * step
    if (bits === 8) codes[at + i] = step + half
    else codes[at + (i >> 1)]! |= (step + half) << (4 * (i & 1))
  }
  return weight === 0 ? 0 : fit / weight
}
