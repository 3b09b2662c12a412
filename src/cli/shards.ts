/** Shards of a distillation on disk: a folder each, with maps and what they are the maps of; and how they are put together. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { FloatArray, Params } from '../base/array.ts'
import { checkpointDigest } from '../io/checkpoint.ts'
import type { Source } from '../io/files.ts'
import { openSafetensors } from '../io/safetensors.ts'
import { readJson } from '../models/folder.ts'
import { folderSource } from '../node/files.ts'
import { checkFingerprint } from '../train/checkpoint.ts'

/** A shard's facts: settings, layers, losses. */
export const partFile = 'distill.json'
/** Its maps. */
export const mapsFile = 'maps.safetensors'

/** One shard of several, counted from 1. */
export interface Shard {
  readonly shard: number
  readonly shards: number
}

/** The folder of a shard, below that of all. */
export const shardFolder = ({ shard, shards }: Shard): string => `shard-${shard}-of-${shards}`

/** The shards that a folder has; none where it is no folder of shards. */
export async function findShards(dir: string): Promise<readonly Shard[]> {
  const names = await readdir(dir).catch((): string[] => [])
  return names.flatMap((name) => {
    const [, shard, shards] = /^shard-(\d+)-of-(\d+)$/.exec(name) ?? []
    return shard ? [{ shard: Number(shard), shards: Number(shards) }] : []
  })
}

/** All shards of a distillation, read. */
export interface Shards {
  readonly map: string
  readonly layers: readonly unknown[]
  readonly maps: Params
}

/**
 * Reads the shards of a distillation of a model.
 * @throws Error naming the shards that are missing or not finished, or what they do not agree on among themselves or with
 * the model.
 */
export async function readShards(dir: string, found: readonly Shard[], model: Source): Promise<Shards> {
  const counts = [...new Set(found.map(({ shards }) => shards))]
  if (counts.length !== 1) {
    throw new Error(
      `${dir}: has shards of ${counts.join(' and of ')}; want those of one distillation, remove the others`,
    )
  }
  const shards = counts[0]!
  const parts = Array.from({ length: shards }, (_, i) => ({ shard: i + 1, shards }))
  const missing: string[] = []
  const read: { readonly name: string; readonly part: Awaited<ReturnType<typeof readJson>> }[] = []
  for (const one of parts) {
    const name = shardFolder(one)
    const part = await readJson(folderSource(join(dir, name)), partFile).catch(() => undefined)
    if (part) read.push({ name, part })
    else missing.push(`${one.shard}`)
  }
  if (missing.length > 0) {
    throw new Error(
      `${dir}: ${missing.length === 1 ? 'shard' : 'shards'} ${missing.join(', ')} of ${shards} ${missing.length === 1 ? 'is' : 'are'} missing or not ` +
        'finished; run hedgehog distill --shard for them',
    )
  }
  const settings = JSON.stringify(read[0]!.part.settings)
  for (const { name, part } of read) {
    checkFingerprint(dir, `${name}/${partFile}`, JSON.stringify(part.settings), settings)
  }
  const { model: digest, map } = read[0]!.part.settings as { readonly model: string; readonly map: string }
  if ((await checkpointDigest(model)) !== digest) {
    throw new Error(`${dir}: its shards are of another model than ${model.name}; name the one that was distilled`)
  }
  const maps: Record<string, FloatArray> = {}
  for (const { name } of read) {
    const file = await openSafetensors(folderSource(join(dir, name)), mapsFile)
    for (const path of file.names) maps[path] = await file.tensor(path)
  }
  return { map, layers: read.flatMap(({ part }) => part.layers as readonly unknown[]), maps }
}
