/** A model written as an ONNX file with its weights beside it, after a comparison with the model. */

import { attentionOf } from '../attention/plan.ts'
import { toOnnx } from '../graph/onnx.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import { type GraphOptions, modelGraph } from './graph.ts'
import type { Signature } from './signature.ts'
import { stored, type WeightType } from './storage.ts'
import type { Exported, ExportJob } from './target.ts'
import { distance, exportLogits, modelLogits, type ParamSource } from './verify.ts'
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
  { sink, open, device, model, options }: Omit<ExportJob, 'tokenizer' | 'source'>,
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
  const bytes = toOnnx(lowered, { weights: { ...places, ...inside } })
  const folder = file.slice(0, file.length - baseName(file).length)
  for (const { name, parts } of files) await sink.write(folder + name, parts())
  await sink.write(file, [bytes])
  const session = await open(file)
  try {
    const got = await exportLogits(session, config, traced, signature, limit)
    const logitsOf = (source: ParamSource) => modelLogits(device, config, source, limit)
    const apart = distance(await logitsOf((path) => model.params[path]!), got, config.vocab)
    const asStored: ParamSource = (path) => changed.get(`p.${path}`)?.() ?? model.params[path]!
    const exact = changed.size ? distance(await logitsOf(asStored), got, config.vocab) : apart
    if (!(exact.logits <= tolerances[type])) {
      throw new Error(
        `export: logits differ by ${exact.logits} of the largest one from those of the model with the same weights, ` +
          `want at most ${tolerances[type]} (${type}, ${form}); nothing was written`,
      )
    }
    return {
      files: [
        { path: file, bytes: bytes.length },
        ...files.map(({ name, size }) => ({ path: folder + name, bytes: size })),
      ],
      exact,
      changed: apart,
    }
  } finally {
    await session.dispose()
  }
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
