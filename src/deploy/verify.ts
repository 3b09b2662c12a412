/** The check before an export is given out: its logits beside those of the model, on a fixed probe. */

import { ints, type NDArray, type Params } from '../base/array.ts'
import { random } from '../base/random.ts'
import { createGenerator } from '../generate/state.ts'
import type { Model, ModelConfig } from '../models/model.ts'
import type { Arrays, Device, Session } from '../runtime/device.ts'
import type { ModelGraph } from './graph.ts'
import type { Signature } from './signature.ts'

/** How far an export's logits are from a model's. */
export interface Distance {
  /** The largest difference of a logit, by the largest logit. */
  readonly logits: number
  /** KL(model ‖ export) of the next token, in nats, the mean over the probe. */
  readonly kl: number
}

/** Texts of the probe: sequences side by side, and the tokens that are read at a time. */
const probe: readonly { readonly batch: number; readonly pieces: readonly number[] }[] = [
  { batch: 1, pieces: [1, 1, 4] },
  { batch: 1, pieces: [17, 1, 4] },
  { batch: 3, pieces: [4, 1, 5] },
]

/**
 * The logits of a model after every token of the probe, piece by piece.
 * @param positions how many a text of the probe may have
 */
export async function modelLogits(
  device: Device,
  { config, params }: Model,
  positions: number,
): Promise<Float32Array[]> {
  const generator = createGenerator(device, { config, params })
  const found: Float32Array[] = []
  try {
    for (const { ids } of texts(config, positions)) {
      let state = generator.start(ids[0]!.shape[0]!)
      for (const piece of ids) {
        const done = await generator.advance(state, piece, { logits: 'all' })
        state = done.state
        found.push(done.logits.data)
      }
    }
  } finally {
    await generator.dispose()
  }
  return found
}

/** The same of an export. */
export async function exportLogits(
  session: Session,
  config: ModelConfig,
  model: ModelGraph,
  signature: Signature,
  positions: number,
): Promise<Float32Array[]> {
  const found: Float32Array[] = []
  for (const { ids } of texts(config, positions)) {
    let read = 0
    let past: Arrays | undefined
    for (const piece of ids) {
      const results = await session.run(signature.feeds(model, piece, read, past))
      past = signature.next(results)
      read += piece.shape[1]!
      found.push(results.logits!.data as Float32Array)
    }
  }
  return found
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

/** The probe's ids, cut to a number of positions. */
function texts({ vocab }: ModelConfig, positions: number): { readonly ids: readonly NDArray[] }[] {
  const rng = random(0).split('probe')
  return probe.map(({ batch, pieces }) => {
    let left = positions
    const ids = pieces.flatMap((size) => {
      const l = Math.min(size, left)
      left -= l
      if (l === 0) return []
      const data = Int32Array.from({ length: batch * l }, () => rng.integer(vocab))
      return [ints([batch, l], data)]
    })
    return { ids }
  })
}

/** The parameters with those that were stored otherwise as they were stored. */
export function asStored(params: Params, changed: ReadonlyMap<string, () => Params[string]>): Params {
  return Object.fromEntries(
    Object.entries(params).map(([path, array]) => [path, changed.get(`p.${path}`)?.() ?? array]),
  )
}
