/** Adapters put into the weights they change, one weight in memory at a time, after both models were compared. */

import { type FloatArray, ints, sizeOf } from '../base/array.ts'
import { random } from '../base/random.ts'
import { outputs } from '../execute/outputs.ts'
import { add, matmul, mul, transpose } from '../graph/ops.ts'
import { type AdapterConfig, adapterPairs, isAdapterPath, linearModules } from '../models/adapter.ts'
import { familyOf, paramSpecs } from '../models/families.ts'
import { filesOf, type ModelFiles, readParams } from '../models/files.ts'
import type { Model, ModelConfig, ModelInputs } from '../models/model.ts'
import { compile } from '../runtime/compile.ts'
import type { Arrays, Device } from '../runtime/device.ts'
import { adapterOf } from './lora.ts'

/** Options of {@link mergeLora} and {@link mergedFiles}. */
export interface MergeOptions {
  /** What merged and unmerged model are compared on. Default: two sequences of random tokens. */
  readonly probe?: ModelInputs
  /** The largest difference that is accepted, as a share of the largest result. Default 1e-3. */
  readonly tolerance?: number
}

/** A model whose weights are merged when they are read. */
export interface MergedFiles extends ModelFiles {
  dispose(): Promise<void>
}

/**
 * The same model with W + alpha / rank · B A in place of W, as float32, and no adapter; other arrays stay the same.
 * Both models are run block by block first.
 * @throws Error when the merged model computes something else on the probe; TypeError without an adapter, or without
 * a probe for a model that reads no tokens.
 */
export async function mergedFiles(device: Device, files: ModelFiles, options: MergeOptions = {}): Promise<MergedFiles> {
  const { probe = defaultProbe(files.config), tolerance = 1e-3 } = options
  const merged = mergedWhenRead(device, files)
  try {
    const [want] = await outputs(device, files, [probe])
    const [got] = await outputs(device, merged, [probe])
    checkEqual(want!.data, got!.data, tolerance)
    return merged
  } catch (error) {
    await merged.dispose()
    throw error
  }
}

/** {@link mergedFiles} of a model in memory. */
export async function mergeLora(device: Device, model: Model, options: MergeOptions = {}): Promise<Model> {
  const merged = await mergedFiles(device, filesOf(model), options)
  try {
    return { config: merged.config, params: await readParams(merged) }
  } finally {
    await merged.dispose()
  }
}

function mergedWhenRead(device: Device, files: ModelFiles): MergedFiles {
  const { adapter: _, ...config } = files.config
  const { merge, dispose } = mergingBy(device, adapterOf('mergeLora', files.config))
  const modules = linearModules(paramSpecs(config))
  const pairs = new Map(adapterPairs(files.paths).map((pair) => [pair.weight, pair]))
  return {
    config,
    paths: files.paths.filter((path) => !isAdapterPath(path)),
    shape: files.shape,
    dtype: (path) => (pairs.has(path) ? 'F32' : files.dtype(path)),
    async read(path, into) {
      const pair = pairs.get(path)
      if (!pair) return files.read(path, into)
      const room = into ?? new Float32Array(sizeOf(files.shape(path)))
      const weight = await files.read(path, room)
      const { inputAxis } = modules[path.slice(0, -'.weight'.length)]!
      // Arrays of a model in memory are not changed.
      const isOwn = weight.data.buffer === room.buffer
      const inputs = { weight, a: await files.read(pair.a), b: await files.read(pair.b) }
      return merge(inputs, inputAxis!, isOwn ? { merged: weight } : {})
    },
    dispose,
  }
}

/** Merges a weight whose inputs are along an axis, perhaps in place. */
function mergingBy(device: Device, { alpha, rank }: AdapterConfig) {
  const merges = [0, 1].map((inputAxis) =>
    compile(device, ({ weight, a, b }) => {
      const change = mul(matmul(b!, a!), alpha / rank)
      return { merged: add(weight!, inputAxis === 1 ? change : transpose(change)) }
    }),
  )
  return {
    merge: async (inputs: Arrays, inputAxis: 0 | 1, into: Arrays) =>
      (await merges[inputAxis]!(inputs, into)).merged as FloatArray,
    async dispose() {
      for (const compiled of merges) await compiled.dispose()
    },
  }
}

function checkEqual(want: Float32Array, got: Float32Array, tolerance: number): void {
  let [largest, difference] = [0, 0]
  for (const [i, value] of want.entries()) {
    // Math.max gives NaN where one of its arguments is NaN, and NaN is within no tolerance.
    largest = Math.max(largest, Math.abs(value))
    difference = Math.max(difference, Math.abs(value - got[i]!))
  }
  if (difference <= tolerance * largest) return
  throw new Error(
    `mergeLora: results differ by ${difference} from those of the unmerged model, want at most ${tolerance * largest}; ` +
      'keep the adapter beside the weights',
  )
}

function defaultProbe(config: ModelConfig): ModelInputs {
  if (familyOf(config).lookups.length === 0) throw new TypeError('mergeLora: probe is missing; give a batch of patches')
  const rng = random(0).split('probe')
  const length = Math.min(16, config.maxLength)
  const ids = Int32Array.from({ length: 2 * length }, () => rng.integer(config.vocab))
  return { ids: ints([2, length], ids) }
}
