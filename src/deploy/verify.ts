/** The check before an export is given out: its logits beside those of the model, on a fixed probe. */

import { type FloatArray, ints, type NDArray, type Params } from '../base/array.ts'
import { random } from '../base/random.ts'
import { createForward } from '../execute/forward.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
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

/** Where a model's parameters come from, by path; they are asked for one block at a time and then let go of. */
export type ParamSource = (path: string) => FloatArray

/**
 * The logits of a model after every token of the probe: (b l v) of each text.
 * @param positions how many a text of the probe may have
 */
export async function modelLogits(
  device: Device,
  config: ModelConfig,
  source: ParamSource,
  positions: number,
): Promise<Float32Array[]> {
  const family = familyOf(config)
  const forward = createForward(device, config)
  const some = (paths: readonly string[]): Params => Object.fromEntries(paths.map((path) => [path, source(path)]))
  try {
    const texts = textsOf(config, positions)
    const ofEmbedding = some([...family.lookups.map(({ table }) => table), ...family.embedPaths])
    const streams = await inTurn(texts, ({ ids }) => forward.embed(ofEmbedding, { ids }))
    for (let layer = 0; layer < config.layers; layer++) {
      const prefix = family.blockPrefix(layer)
      const ofBlock = some(Object.keys(family.blockParams(config, layer)).map((path) => prefix + path))
      for (const [i, { ids }] of texts.entries()) {
        streams[i] = await forward.block(ofBlock, layer, streams[i]!, forward.shared({ ids }))
      }
    }
    const { weight, bias } = family.unembedding(config)
    const ofHead = some([...family.headPaths(config), weight, ...(bias ? [bias] : [])])
    return await inTurn(streams, async (x) => (await forward.logits(ofHead, await forward.head(ofHead, x))).data)
  } finally {
    await forward.dispose()
  }
}

/** The same of an export, which reads the texts piece by piece. */
export async function exportLogits(
  session: Session,
  config: ModelConfig,
  model: ModelGraph,
  signature: Signature,
  positions: number,
): Promise<Float32Array[]> {
  return inTurn(textsOf(config, positions), async ({ ids, pieces }) => {
    const [batch, length] = ids.shape as [number, number]
    const found = new Float32Array(batch * length * config.vocab)
    let read = 0
    let past: Arrays | undefined
    for (const size of pieces) {
      const results = await session.run(signature.feeds(model, cut(ids, read, size), read, past))
      past = signature.next(results)
      const logits = results.logits!.data as Float32Array
      const width = size * config.vocab
      for (let row = 0; row < batch; row++) {
        found.set(logits.subarray(row * width, (row + 1) * width), (row * length + read) * config.vocab)
      }
      read += size
    }
    return found
  })
}

async function inTurn<A, B>(items: readonly A[], work: (item: A) => Promise<B>): Promise<B[]> {
  const done: B[] = []
  for (const item of items) done.push(await work(item))
  return done
}

/** Tokens [start, start + size) of every sequence. */
function cut({ shape, data }: NDArray, start: number, size: number): NDArray {
  const [batch, length] = shape as [number, number]
  const rows = Array.from({ length: batch }, (_, row) => {
    return [...data.subarray(row * length + start, row * length + start + size)]
  })
  return ints([batch, size], rows.flat())
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

/** The probe, cut to a number of positions. */
function textsOf(
  { vocab }: ModelConfig,
  positions: number,
): { readonly ids: NDArray; readonly pieces: readonly number[] }[] {
  const rng = random(0).split('probe')
  return probe.map(({ batch, pieces }) => {
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
