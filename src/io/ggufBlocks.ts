/**
 * Quantised values of GGUF files: blocks of small integers with float16 scales, and how each becomes float32.
 * Source: the block structures of ggml (`ggml-common.h`); roundings as in float32 arithmetic there.
 */

import { type Encoding, type Encodings, floatEncodings } from './encodings.ts'
import { fromFloat16 } from './half.ts'

/** Values of a block at `at` of `from`, written at `to` of `into`. */
type BlockDecoder = (from: Uint8Array, at: number, into: Float32Array, to: number) => void

const { fround } = Math

function blocks(values: number, bytes: number, decode: BlockDecoder): Encoding {
  return {
    values,
    bytes,
    decode(from, into) {
      for (let block = 0; block * values < into.length; block++) decode(from, block * bytes, into, block * values)
    },
  }
}

/** Encodings by the name of the type; `K` types have super-blocks of 256 values. */
export const ggufEncodings: Encodings = {
  ...floatEncodings,

  Q4_0: blocks(32, 18, (from, at, into, to) => {
    const scale = half(from, at)
    for (let i = 0; i < 16; i++) {
      const pair = from[at + 2 + i]!
      into[to + i] = scale * ((pair & 15) - 8)
      into[to + 16 + i] = scale * ((pair >> 4) - 8)
    }
  }),

  Q4_1: blocks(32, 20, (from, at, into, to) => {
    const [scale, least] = [half(from, at), half(from, at + 2)]
    for (let i = 0; i < 16; i++) {
      const pair = from[at + 4 + i]!
      into[to + i] = fround(scale * (pair & 15)) + least
      into[to + 16 + i] = fround(scale * (pair >> 4)) + least
    }
  }),

  Q5_0: blocks(32, 22, (from, at, into, to) => {
    const scale = half(from, at)
    const high = word(from, at + 2)
    for (let i = 0; i < 16; i++) {
      const pair = from[at + 6 + i]!
      into[to + i] = scale * (((pair & 15) | (((high >>> i) & 1) << 4)) - 16)
      into[to + 16 + i] = scale * (((pair >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16)
    }
  }),

  Q5_1: blocks(32, 24, (from, at, into, to) => {
    const [scale, least, high] = [half(from, at), half(from, at + 2), word(from, at + 4)]
    for (let i = 0; i < 16; i++) {
      const pair = from[at + 8 + i]!
      into[to + i] = fround(scale * ((pair & 15) | (((high >>> i) & 1) << 4))) + least
      into[to + 16 + i] = fround(scale * ((pair >> 4) | (((high >>> (i + 16)) & 1) << 4))) + least
    }
  }),

  Q8_0: blocks(32, 34, (from, at, into, to) => {
    const scale = half(from, at)
    for (let i = 0; i < 32; i++) into[to + i] = scale * signed(from[at + 2 + i]!)
  }),

  Q2_K: blocks(256, 84, (from, at, into, to) => {
    const [scale, least] = [half(from, at + 80), half(from, at + 82)]
    for (let group = 0; group < 16; group++) {
      const both = from[at + group]!
      const [step, low] = [fround(scale * (both & 15)), fround(least * (both >> 4))]
      const [bytes, shift] = [at + 16 + 32 * (group >> 3) + 16 * (group & 1), 2 * ((group >> 1) & 3)]
      for (let i = 0; i < 16; i++) into[to++] = fround(step * ((from[bytes + i]! >> shift) & 3)) - low
    }
  }),

  Q3_K: blocks(256, 110, (from, at, into, to) => {
    const scale = half(from, at + 108)
    for (let group = 0; group < 16; group++) {
      const low = group < 8 ? from[at + 96 + group]! & 15 : from[at + 88 + group]! >> 4
      const high = (from[at + 104 + (group & 3)]! >> (2 * (group >> 2))) & 3
      const step = fround(scale * ((low | (high << 4)) - 32))
      const [half32, shift, mask] = [16 * (group & 1), 2 * ((group >> 1) & 3), 1 << (group >> 1)]
      for (let i = half32; i < half32 + 16; i++) {
        const pair = (from[at + 32 + 32 * (group >> 3) + i]! >> shift) & 3
        into[to++] = step * (from[at + i]! & mask ? pair : pair - 4)
      }
    }
  }),

  Q4_K: blocks(256, 144, (from, at, into, to) => {
    for (let group = 0; group < 8; group++) {
      const [step, low] = scaleAndLeast(from, at, group)
      const [bytes, shift] = [at + 16 + 32 * (group >> 1), 4 * (group & 1)]
      for (let i = 0; i < 32; i++) into[to++] = fround(step * ((from[bytes + i]! >> shift) & 15)) - low
    }
  }),

  Q5_K: blocks(256, 176, (from, at, into, to) => {
    for (let group = 0; group < 8; group++) {
      const [step, low] = scaleAndLeast(from, at, group)
      const [bytes, shift] = [at + 48 + 32 * (group >> 1), 4 * (group & 1)]
      for (let i = 0; i < 32; i++) {
        const value = ((from[bytes + i]! >> shift) & 15) | (((from[at + 16 + i]! >> group) & 1) << 4)
        into[to++] = fround(step * value) - low
      }
    }
  }),

  Q6_K: blocks(256, 210, (from, at, into, to) => {
    const scale = half(from, at + 208)
    for (let group = 0; group < 8; group++) {
      const [part, quarter] = [group >> 2, group & 3]
      const [low, shift] = [at + 64 * part + 32 * (quarter & 1), 4 * (quarter >> 1)]
      const high = at + 128 + 32 * part
      for (let i = 0; i < 32; i++) {
        const step = fround(scale * signed(from[at + 192 + 2 * group + (i >> 4)]!))
        const value = ((from[low + i]! >> shift) & 15) | (((from[high + i]! >> (2 * quarter)) & 3) << 4)
        into[to++] = step * (value - 32)
      }
    }
  }),
}

/** Scale and least value of a group of 32 in Q4_K and Q5_K: both have 6 bits, packed into 12 bytes. */
function scaleAndLeast(from: Uint8Array, at: number, group: number): readonly [number, number] {
  const packed = (i: number) => from[at + 4 + i]!
  const scale = group < 4 ? packed(group) & 63 : (packed(group + 4) & 15) | ((packed(group - 4) >> 6) << 4)
  const least = group < 4 ? packed(group + 4) & 63 : (packed(group + 4) >> 4) | ((packed(group) >> 6) << 4)
  return [fround(half(from, at) * scale), fround(half(from, at + 2) * least)]
}

/** The values of all float16 words: scales are looked up. */
let halves: Float32Array | undefined

function half(from: Uint8Array, at: number): number {
  halves ??= fromFloat16(Uint16Array.from({ length: 2 ** 16 }, (_, i) => i))
  return halves[from[at]! | (from[at + 1]! << 8)]!
}

function word(from: Uint8Array, at: number): number {
  return from[at]! | (from[at + 1]! << 8) | (from[at + 2]! << 16) | (from[at + 3]! << 24)
}

function signed(byte: number): number {
  return (byte << 24) >> 24
}
