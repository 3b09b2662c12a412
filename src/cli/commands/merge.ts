/** `hedgehog merge`: a LoRA adapter, or the shards of a distillation, put into the weights of a model, one in memory at a time. */

import { resolve } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { random } from '../../base/random.ts'
import { linearize } from '../../convert/linearize.ts'
import { readAdapter } from '../../io/adapters.ts'
import type { Source } from '../../io/files.ts'
import { loadTokenizer } from '../../io/tokenizer.ts'
import { adapterPairs } from '../../models/adapter.ts'
import { checkParams, familyOf } from '../../models/families.ts'
import { type ModelFiles, openModelFiles, saveFrom, shapesOf } from '../../models/files.ts'
import { openDevice } from '../../node/device.ts'
import { openSource } from '../../node/source.ts'
import { attachAdapter } from '../../train/lora.ts'
import { mergedFiles } from '../../train/mergeLora.ts'
import type { Context, Outcome, Run } from '../command.ts'
import { makeFolder, openOutput, writeTogether } from '../inputs.ts'
import type { mergeOptions } from '../optionTables.ts'
import { findShards, readShards, type Shard } from '../shards.ts'

export const run: Run<typeof mergeOptions, 'model', 'adapter'> = async (
  context,
  args,
  { out, force, device: name },
) => {
  const { model, adapter } = args
  if ([model, adapter].some((path) => path !== undefined && resolve(path) === resolve(out))) {
    throw new UsageError(`--out: ${out} is what is merged; choose another folder`)
  }
  await openOutput(out, { replace: force, resumes: false })
  const source = await context.run(openSource(model))
  const shards = adapter === undefined ? [] : await findShards(adapter)
  if (shards.length > 0) return mergeShards(source, adapter!, shards, out)
  const files = await adaptedFiles(context, source, adapter)
  const { json: tokenizer } = await loadTokenizer(source)
  const device = await openDevice(name as 'cpu')
  const merged = await mergedFiles(device, files)
  await makeFolder(out)
  await writeTogether(out, (sink) => saveFrom(sink, merged, { config: merged.config, params: {} }, { tokenizer }))
  await merged.dispose()
  const { rank } = files.config.adapter!
  const targets = adapterPairs(files.paths).length
  return { value: { out, rank, targets }, text: `${out}: ${targets} layers changed by an adapter of rank ${rank}` }
}

/** A model with an adapter of a folder, or with the one that stands beside its weights. */
async function adaptedFiles(context: Context, source: Source, adapter: string | undefined): Promise<ModelFiles> {
  const files = await openModelFiles(source)
  if (adapter === undefined) {
    if (files.config.adapter) return files
    throw new UsageError(`${source.name}: has no adapter beside its weights; name the folder of one, or of shards`)
  }
  const prefix = familyOf(files.config).checkpointPrefix
  return attachAdapter(files, await readAdapter(await context.run(openSource(adapter)), { prefix }))
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
