/** The check before an export is given out: its logits beside those of the model, on a fixed probe. */

import { ints, type NDArray } from '../base/array.ts'
import { random } from '../base/random.ts'
import { outputs } from '../execute/outputs.ts'
import type { ModelFiles } from '../models/files.ts'
import type { ModelConfig } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'

/** How far an export's logits are from a model's. */
export interface Distance {
  /** The largest difference of a logit, by the largest logit. */
  readonly logits: number
  /** KL(model ‖ export) of the next token, in nats, the mean over the probe. */
  readonly kl: number
}

/** Texts of the probe: sequences side by side, and the tokens that are read at a time. */
const texts: readonly { readonly batch: number; readonly pieces: readonly number[] }[] = [
  { batch: 1, pieces: [1, 1, 4] },
  { batch: 1, pieces: [17, 1, 4] },
  { batch: 3, pieces: [4, 1, 5] },
]

/** The logits of a model after every token of the probe: (b l v) of each text. */
export async function modelLogits(device: Device, files: ModelFiles, probe: Probe): Promise<Float32Array[]> {
  const logits = await outputs(device, files, probe)
  return logits.map(({ data }) => data)
}

/** How far apart logits are. */
export function distance(want: readonly Float32Array[], got: readonly Float32Array[], vocab: number): Distance {
  let [largest, difference, kl, rows] = [0, 0, 0, 0]
  for (const [i, wanted] of want.entries()) {
    const found = got[i]!
    if (found.length !== wanted.length) return { logits: Number.NaN, kl: Number.NaN }
    for (let j = 0; j < wanted.length; j++) {
      largest = Math.max(largest, Math.abs(wanted[j]!))
      // Math.max gives NaN where one of its arguments is NaN, and NaN is within no tolerance.
      difference = Math.max(difference, Math.abs(wanted[j]! - found[j]!))
    }
    for (let row = 0; row < wanted.length; row += vocab, rows++) {
      kl += divergence(wanted.subarray(row, row + vocab), found.subarray(row, row + vocab))
    }
  }
  return { logits: difference / largest, kl: kl / rows }
}

function divergence(want: Float32Array, got: Float32Array): number {
  const [a, b] = [logSum(want), logSum(got)]
  return want.reduce((sum, x, i) => sum + Math.exp(x - a) * (x - a - got[i]! + b), 0)
}

function logSum(values: Float32Array): number {
  const top = values.reduce((most, x) => Math.max(most, x), -Infinity)
  return top + Math.log(values.reduce((sum, x) => sum + Math.exp(x - top), 0))
}

/** Texts, and how they are read piece by piece. */
export type Probe = readonly { readonly ids: NDArray; readonly pieces: readonly number[] }[]

/** The probe of a model. @param positions how many a text may have */
export function probeOf({ vocab }: ModelConfig, positions: number): Probe {
  const rng = random(0).split('probe')
  return texts.map(({ batch, pieces }) => {
    let left = positions
    const fitting = pieces.map((size) => {
      const l = Math.min(size, left)
      left -= l
      return l
    })
    const length = fitting.reduce((sum, size) => sum + size, 0)
    const data = Int32Array.from({ length: batch * length }, () => rng.integer(vocab))
    return { ids: ints([batch, length], data), pieces: fitting.filter((size) => size > 0) }
  })
}
