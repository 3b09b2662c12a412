/** The files beside an ONNX model that its weights are in: which weight is where, and their bytes one after the other. */

import type { Weight } from '../graph/onnx.ts'
import { byteLength, type StoredWeight } from './storage.ts'

/** The files of some weights. */
export interface WeightFiles {
  /** Where each weight is. */
  readonly places: Readonly<Record<string, Weight>>
  readonly files: readonly { readonly name: string; readonly size: number; parts(): AsyncIterable<Uint8Array> }[]
}

/** A weight begins at a multiple of this, as engines map files into memory. */
const alignment = 64

/** A file ends before it is as large: browsers have no larger arrays. */
export const largestFile = 2 ** 31 - 2 ** 16

/**
 * Lays weights out in files `NAME_data`, `NAME_data_1`, …, none larger than `limit` bytes unless one weight is.
 * @param model the file name of the model
 */
export function weightFiles(model: string, weights: readonly StoredWeight[], limit = largestFile): WeightFiles {
  const places: Record<string, Weight> = {}
  const groups: { weight: StoredWeight; offset: number }[][] = [[]]
  let end = 0
  for (const weight of weights) {
    if (weight.sameAs !== undefined) {
      places[weight.name] = places[weight.sameAs]!
      continue
    }
    const length = byteLength(weight)
    let offset = aligned(end)
    if (offset + length > limit && offset > 0) {
      groups.push([])
      offset = 0
    }
    const file = dataName(model, groups.length - 1)
    places[weight.name] = { file, offset, length }
    groups.at(-1)!.push({ weight, offset })
    end = offset + length
  }
  const files = groups.map((group, i) => {
    const last = group.at(-1)
    return {
      name: dataName(model, i),
      size: last ? last.offset + byteLength(last.weight) : 0,
      parts: () => partsOf(group),
    }
  })
  return { places, files: files.filter(({ size }) => size > 0) }
}

async function* partsOf(group: readonly { weight: StoredWeight; offset: number }[]): AsyncIterable<Uint8Array> {
  let at = 0
  for (const { weight, offset } of group) {
    if (offset > at) yield new Uint8Array(offset - at)
    yield* weight.bytes()
    at = offset + byteLength(weight)
  }
}

const dataName = (model: string, i: number): string => `${model}_data${i === 0 ? '' : `_${i}`}`
const aligned = (offset: number): number => Math.ceil(offset / alignment) * alignment
