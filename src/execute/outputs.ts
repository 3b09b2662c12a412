/** What a model gives at its end, of parameters that are read part by part: the embedding, block after block, the end. */

import { type FloatArray, type Params, sizeOf } from '../base/array.ts'
import { familyOf } from '../models/families.ts'
import { type ModelFiles, pathsOf, readParams } from '../models/files.ts'
import type { ModelConfig, ModelInputs } from '../models/model.ts'
import { isLanguage, isPooled } from '../models/task.ts'
import type { Device } from '../runtime/device.ts'
import { createForward, type Forward } from './forward.ts'

/**
 * Logits (b·l v) of each batch; of a model that classifies, class logits (b c); of one without such an end its last states.
 * One part of the parameters is in memory at a time, for all batches.
 */
export async function outputs(
  device: Device,
  files: ModelFiles,
  batches: readonly ModelInputs[],
): Promise<FloatArray[]> {
  const { config } = files
  const forward = createForward(device, config)
  const nextBlock = blockReader(files)
  try {
    const streams = await embedded(forward, files, batches)
    for (let layer = 0; layer < config.layers; layer++) {
      const params = await nextBlock(layer)
      for (const [i, batch] of batches.entries()) {
        streams[i] = await forward.block(params, layer, streams[i]!, forward.shared(batch))
      }
    }
    return await ended(forward, files, streams, batches)
  } finally {
    await forward.dispose()
  }
}

async function embedded(forward: Forward, files: ModelFiles, batches: readonly ModelInputs[]): Promise<FloatArray[]> {
  const { lookups, embedPaths } = familyOf(files.config)
  const params = await readParams(files, [...lookups.map(({ table }) => table), ...embedPaths])
  const streams: FloatArray[] = []
  for (const batch of batches) streams.push(await forward.embed(params, batch))
  return streams
}

async function ended(
  forward: Forward,
  files: ModelFiles,
  streams: readonly FloatArray[],
  batches: readonly ModelInputs[],
): Promise<FloatArray[]> {
  const { config } = files
  const params = await readParams(files, endPaths(config))
  const found: FloatArray[] = []
  for (const [i, x] of streams.entries()) {
    if (isPooled(config.task)) found.push(await forward.classes(params, x, batches[i]!.keyMask))
    else {
      const h = await forward.head(params, x)
      found.push(isLanguage(config.task) ? await forward.logits(params, h) : h)
    }
  }
  return found
}

function endPaths(config: ModelConfig): string[] {
  const family = familyOf(config)
  const { weight, bias } = isLanguage(config.task) ? family.unembedding(config) : {}
  return [...new Set([...family.headPaths(config), ...[weight, bias].filter((path) => path !== undefined)])]
}

/** Reads blocks one after the other, each into the memory of the one before. */
function blockReader(files: ModelFiles): (layer: number) => Promise<Params> {
  const { blockPrefix } = familyOf(files.config)
  const room: Record<string, Float32Array<ArrayBuffer>> = {}
  return async (layer) => {
    const params: Record<string, FloatArray> = {}
    for (const path of pathsOf(files, layer)) {
      const inner = path.slice(blockPrefix(layer).length)
      const size = sizeOf(files.shape(path))
      if (room[inner]?.length !== size) room[inner] = new Float32Array(size)
      params[path] = await files.read(path, room[inner])
    }
    return params
  }
}
