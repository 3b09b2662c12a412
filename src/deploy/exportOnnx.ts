/** A model written as an ONNX file with its weights beside it, each read when it is written, and compared with the model. */

import { attentionOf } from '../attention/plan.ts'
import { toOnnx } from '../graph/onnx.ts'
import { familyOf } from '../models/families.ts'
import type { ModelFiles } from '../models/files.ts'
import type { ModelConfig } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import { type GraphOptions, modelGraph } from './graph.ts'
import { exportLogits, type WrittenGraph } from './partwise.ts'
import type { Signature } from './signature.ts'
import { type Stored, stored, type WeightType } from './storage.ts'
import type { Exported, ExportJob } from './target.ts'
import { type Distance, distance, modelLogits, probeOf } from './verify.ts'
import { largestFile, weightFiles } from './weightFiles.ts'

/** What a target's graph is. */
export interface OnnxExport {
  readonly given: GraphOptions['given']
  /** The path of the model file. */
  readonly file: string
  /** The most bytes of a file of weights. Default just under 2 GiB. */
  readonly fileLimit?: number
}

/** Differences of logits, by the largest one, that the arithmetic of a type of weights explains. */
const tolerances: Readonly<Record<WeightType, number>> = { float32: 1e-3, float16: 1e-2, int8: 1e-3, int4: 1e-3 }

/**
 * Writes a model for ONNX Runtime and compares it on a probe of several lengths and batches.
 * @throws RangeError or TypeError for what cannot be exported, before anything is written; Error with the numbers when the
 * export computes something else: the caller then keeps none of the files.
 */
export async function exportOnnx(
  { sink, written, open, device, model, options }: Omit<ExportJob, 'tokenizer' | 'source'>,
  signature: Signature,
  { given, file, fileLimit = largestFile }: OnnxExport,
): Promise<Exported> {
  const { type = 'float32', attention: form = 'operator' } = options
  const { config } = model
  const { limit, positions } = positionsOf(config, options.positions)
  const traced = modelGraph(model, { form, given, positions })
  const { graph, numbers } = signature.sign(traced)
  const { weight } = familyOf(config).unembedding(config)
  const tables = familyOf(config).lookups.map(({ table }) => table)
  const fine = new Set([weight, ...tables].map((path) => `p.${path}`))
  const { graph: lowered, weights, changed } = stored(graph, traced.weights, { type, fine })
  const { places, files } = weightFiles(baseName(file), weights, fileLimit)
  const inside = Object.fromEntries(Object.entries(numbers).map(([name, data]) => [name, { data }]))
  const all = { ...places, ...inside }
  const bytes = toOnnx(lowered, { weights: all })
  const folder = file.slice(0, file.length - baseName(file).length)
  for (const { name, parts } of files) await sink.write(folder + name, parts())
  await sink.write(file, [bytes])
  await (await open(file)).dispose()
  const read = (name: string, start: number, end: number) => written.read(folder + name, start, end)
  const { cuts, kept } = traced
  const asRead = { graph: lowered, weights: all, cuts, kept, signature, read }
  const compared = await comparison(device, model, asRead, { changed, limit })
  if (!(compared.exact.logits <= tolerances[type])) {
    throw new Error(
      `export: logits differ by ${compared.exact.logits} of the largest one from those of the model with the same weights, ` +
        `want at most ${tolerances[type]} (${type}, ${form}); nothing was written`,
    )
  }
  const data = files.map(({ name, size }) => ({ path: folder + name, bytes: size }))
  return { files: [{ path: file, bytes: bytes.length }, ...data], ...compared }
}

/** How far an export is from the model with the weights as they were stored, and from the model as it was. */
async function comparison(
  device: Device,
  model: ModelFiles,
  written: WrittenGraph,
  { changed, limit }: Pick<Stored, 'changed'> & { readonly limit: number },
): Promise<{ readonly exact: Distance; readonly changed: Distance }> {
  const { vocab } = model.config
  const probe = probeOf(model.config, limit)
  const got = await exportLogits(device, written, probe)
  const apart = distance(await modelLogits(device, model, probe), got, vocab)
  if (changed.size === 0) return { exact: apart, changed: apart }
  const asStored = { ...model, read: async (path: string) => (await changed.get(`p.${path}`)?.()) ?? model.read(path) }
  return { exact: distance(await modelLogits(device, asStored, probe), got, vocab), changed: apart }
}

/**
 * Positions that a graph has tables for, and the most that a text can have with it.
 * @throws RangeError for more positions than a family without tables by formula, or a map, has.
 */
function positionsOf(config: ModelConfig, asked: number | undefined): { positions: number; limit: number } {
  const family = familyOf(config)
  const learned = family.lookups.some(({ by }) => by === 'positions') ? config.maxLength : Infinity
  const most = Math.min(learned, ...config.attention.map((plan) => attentionOf(plan).positions ?? Infinity))
  const positions = asked ?? Math.min(most, config.maxLength)
  if (positions > most) {
    throw new RangeError(
      `export: got ${positions} positions, want at most ${most}, which the model has embeddings or features for`,
    )
  }
  return { positions, limit: family.positional ? positions : most }
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
