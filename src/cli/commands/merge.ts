/** `hedgehog merge`: a LoRA adapter, or the shards of a distillation, put into the weights of a model. */

import { resolve } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { random } from '../../base/random.ts'
import { linearize } from '../../convert/linearize.ts'
import { readAdapter } from '../../io/adapters.ts'
import type { Source } from '../../io/files.ts'
import { loadTokenizer } from '../../io/tokenizer.ts'
import { checkParams, familyOf } from '../../models/families.ts'
import { type ModelFiles, openModelFiles, saveFrom } from '../../models/files.ts'
import { loadModel, saveModel } from '../../models/folder.ts'
import { openDevice } from '../../node/device.ts'
import { freeMemory } from '../../node/freeMemory.ts'
import { openSource } from '../../node/source.ts'
import { attachAdapter, mergeLora } from '../../train/lora.ts'
import type { Outcome, Run } from '../command.ts'
import { makeFolder, openOutput, writeTogether } from '../inputs.ts'
import type { mergeOptions } from '../optionTables.ts'
import { findShards, readShards, type Shard } from '../shards.ts'

export const run: Run<typeof mergeOptions, 'model' | 'adapter'> = async (context, args, { out, force, device }) => {
  if ([args.model, args.adapter].some((path) => resolve(path) === resolve(out))) {
    throw new UsageError(`--out: ${out} is what is merged; choose another folder`)
  }
  await openOutput(out, { replace: force, resumes: false })
  const source = await context.run(openSource(args.model))
  const shards = await findShards(args.adapter)
  if (shards.length > 0) return mergeShards(source, args.adapter, shards, out)
  const model = await loadModel(source, { memory: freeMemory() })
  const { json: tokenizer } = await loadTokenizer(source)
  const prefix = familyOf(model.config).checkpointPrefix
  const adapter = await readAdapter(await context.run(openSource(args.adapter)), { prefix })
  const merged = await mergeLora(await openDevice(device as 'cpu'), attachAdapter(model, adapter))
  await makeFolder(out)
  await writeTogether(out, (result) => saveModel(result, merged, { tokenizer }))
  const { rank, targets } = adapter
  const value = { out, rank, targets: targets.length }
  return { value, text: `${out}: ${targets.length} layers changed by an adapter of rank ${rank}` }
}

/** The model with the maps of all shards, one weight in memory at a time. */
async function mergeShards(source: Source, dir: string, found: readonly Shard[], out: string): Promise<Outcome> {
  const { map, layers, maps } = await readShards(dir, found, source)
  const files = await openModelFiles(source)
  const { config } = linearize({ config: files.config, params: {} }, map, random(0))
  checkParams(dir, config, { ...shapesOf(files), ...maps })
  const { json: tokenizer } = await loadTokenizer(source)
  await makeFolder(out)
  await writeTogether(out, (sink) => saveFrom(sink, files, { config, params: maps }, { tokenizer }))
  const value = { out, map, shards: found.length, layers }
  return { value, text: `${out}: ${map} in ${layers.length} layers, from ${found.length} shards` }
}

function shapesOf({ paths, shape }: ModelFiles): Record<string, { shape: readonly number[] }> {
  return Object.fromEntries(paths.map((path) => [path, { shape: shape(path) }]))
}
