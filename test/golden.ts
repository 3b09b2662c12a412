/** Reads golden files without any of hedgehog's own code, so that a wrong reader cannot agree with itself. */

import { readFileSync } from 'node:fs'

/** A tensor of a golden file, widened to float64, row-major. */
export interface Golden {
  readonly shape: readonly number[]
  readonly data: Float64Array
}

const READERS: Readonly<Record<string, { bytes: number; at: (view: DataView, offset: number) => number }>> = {
  F64: { bytes: 8, at: (view, offset) => view.getFloat64(offset, true) },
  F32: { bytes: 4, at: (view, offset) => view.getFloat32(offset, true) },
  I32: { bytes: 4, at: (view, offset) => view.getInt32(offset, true) },
  U8: { bytes: 1, at: (view, offset) => view.getUint8(offset) },
}

/**
 * All tensors of a safetensors file in test/fixtures, by name; the scripts in scripts/golden say which there are.
 * The result throws an Error naming the tensor when asked for one that the file lacks.
 */
export function readGolden(file: string): (name: string) => Golden {
  const { buffer, byteOffset, byteLength } = readFileSync(new URL(`fixtures/${file}`, import.meta.url))
  const view = new DataView(buffer, byteOffset, byteLength)
  const start = 8 + Number(view.getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, byteOffset + 8, start - 8)))
  return (name) => {
    const entry = header[name]
    const reader = READERS[entry?.dtype]
    if (!reader) throw new Error(`readGolden: ${file} has no readable tensor ${name}, got ${JSON.stringify(entry)}`)
    const [from, to] = entry.data_offsets
    const length = (to - from) / reader.bytes
    const data = Float64Array.from({ length }, (_, i) => reader.at(view, start + from + i * reader.bytes))
    return { shape: entry.shape, data }
  }
}

/** The matrices [rows, columns] of a tensor [..., rows, columns], in order. */
export function matrices({ shape, data }: Golden): number[][][] {
  const [rows = 1, columns = 1] = shape.slice(-2)
  return Array.from({ length: data.length / (rows * columns) }, (_, m) =>
    Array.from({ length: rows }, (_, r) => Array.from(data.subarray((m * rows + r) * columns).subarray(0, columns))),
  )
}
