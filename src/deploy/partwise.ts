/** An export run as it was written, a block at a time, its weights read back from the files. */

import { ints, type NDArray } from '../base/array.ts'
import { toOnnx, usedInputs, type Weight } from '../graph/onnx.ts'
import { cutName, graphParts } from '../graph/parts.ts'
import type { Graph } from '../graph/tensor.ts'
import type { Arrays, Device, Session } from '../runtime/device.ts'
import type { ModelGraph } from './graph.ts'
import type { Signature } from './signature.ts'
import type { Probe } from './verify.ts'

/** An export whose files were written. */
export interface WrittenGraph extends Pick<ModelGraph, 'cuts' | 'kept'> {
  readonly graph: Graph
  readonly signature: Signature
  /** Where weights are in the files. */
  readonly weights: Readonly<Record<string, Weight>>
  /** Bytes [start, end) of one of them. */
  readonly read: (file: string, start: number, end: number) => Promise<Uint8Array>
}

/** A text that is read by one part after the other. */
interface Reading {
  readonly pieces: readonly NDArray[]
  /** For each piece, the value between this part and the next. */
  readonly streams: NDArray[]
  /** For each piece, what counts positions: results of the first part that all others are fed. */
  readonly counts: Arrays[]
  logits: Float32Array
}

/** The logits after every token of the probe, read piece by piece: (b l v) of each text. */
export async function exportLogits(device: Device, written: WrittenGraph, probe: Probe): Promise<Float32Array[]> {
  const { graph, cuts, weights } = written
  const readings = probe.map(({ ids, pieces }): Reading => {
    return { pieces: cutInto(ids, pieces), streams: [], counts: [], logits: new Float32Array(0) }
  })
  for (const [i, part] of graphParts(graph, cuts, (name) => Object.hasOwn(weights, name)).entries()) {
    const session = await openPart(device, part, written)
    try {
      for (const reading of readings) await readBy(session, { ...written, graph: part }, i, reading)
    } finally {
      await session.dispose()
    }
  }
  return readings.map(({ logits }) => logits)
}

/** Opens a part with its weights. */
async function openPart(device: Device, part: Graph, { weights, read }: WrittenGraph): Promise<Session> {
  const own: Record<string, Weight> = {}
  const contents: Record<string, Uint8Array> = {}
  for (const name of usedInputs(part)) {
    const weight = weights[name]
    if (!weight) continue
    if ('data' in weight) own[name] = weight
    else {
      const { file, offset, length } = weight
      contents[name] = await read(file, offset, offset + length)
      own[name] = { file: name, offset: 0, length }
    }
  }
  return device.open(toOnnx(part, { weights: own }), contents)
}

/** Reads a text by part i; what the part keeps from piece to piece is let go of with it. */
async function readBy(
  session: Session,
  { graph, signature, kept, weights }: WrittenGraph,
  i: number,
  reading: Reading,
) {
  const { pieces, streams, counts } = reading
  const own = kept.map((layer, at) => (at === i - 1 ? layer : {}))
  const wanted = usedInputs(graph).filter((name) => !Object.hasOwn(weights, name))
  const logits: NDArray[] = []
  let [read, past]: [number, Arrays] = [0, {}]
  for (const [at, ids] of pieces.entries()) {
    const before = at === 0 ? undefined : { ...counts[at - 1], ...past }
    const given: Arrays = { ...signature.feeds({ kept: own }, ids, read, before), [cutName(i - 1)]: streams[at]! }
    const results = await session.run(Object.fromEntries(wanted.map((name) => [name, given[name]!])))
    const { [cutName(i)]: stream, ...others } = results
    if (stream) streams[at] = stream
    if (results.logits) logits.push(results.logits)
    past = signature.next(others)
    if (i === 0) counts[at] = past
    read += ids.shape[1]!
  }
  if (logits.length > 0) reading.logits = joined(logits)
}

/** Pieces of every sequence: (b l) -> (b size) each. */
function cutInto({ shape, data }: NDArray, sizes: readonly number[]): NDArray[] {
  const [batch, length] = shape as [number, number]
  let start = 0
  return sizes.map((size) => {
    const rows = Array.from({ length: batch }, (_, row) => [
      ...data.subarray(row * length + start, row * length + start + size),
    ])
    start += size
    return ints([batch, size], rows.flat())
  })
}

/** Pieces (b size v) one after the other as (b l v). */
function joined(pieces: readonly NDArray[]): Float32Array {
  const length = pieces.reduce((sum, { shape }) => sum + shape[1]!, 0)
  const [batch, , vocab] = pieces[0]!.shape as [number, number, number]
  const found = new Float32Array(batch * length * vocab)
  let start = 0
  for (const { shape, data } of pieces) {
    const width = shape[1]! * vocab
    for (let row = 0; row < batch; row++) {
      found.set(data.subarray(row * width, (row + 1) * width) as Float32Array, (row * length + start) * vocab)
    }
    start += shape[1]!
  }
  return found
}
