/** `hedgehog distill`: feature maps of all layers, or of a shard of them, for models of any size. */

import { basename, join, resolve } from 'node:path'
import { isMapPath } from '../../attention/mapParams.ts'
import { isDistilled, planName, planNamed } from '../../attention/plan.ts'
import { UsageError } from '../../base/errors.ts'
import { formatSeconds } from '../../base/format.ts'
import { random } from '../../base/random.ts'
import { type DistilledLayer, distillLayers } from '../../convert/distillLayers.ts'
import { type LayerRange, layersOf, layersOfShard } from '../../convert/layers.ts'
import { linearize } from '../../convert/linearize.ts'
import { distillDefaults } from '../../convert/stages.ts'
import { encodeDocuments } from '../../io/batches.ts'
import { checkpointDigest } from '../../io/checkpoint.ts'
import { writeSafetensors } from '../../io/safetensors.ts'
import { loadTokenizer } from '../../io/tokenizer.ts'
import { layerOf, type ModelFiles, saveFrom } from '../../models/files.ts'
import { writeJson } from '../../models/folder.ts'
import { countParams } from '../../nn/params.ts'
import { openDevice } from '../../node/device.ts'
import { openSource } from '../../node/source.ts'
import type { Outcome, Run } from '../command.ts'
import { clock, filesDigest, readTexts } from '../inputs.ts'
import { openJob, unforced } from '../job.ts'
import type { Values } from '../options.ts'
import type { distillOptions } from '../optionTables.ts'
import { mapsFile, partFile, shardFolder } from '../shards.ts'
import { openStreamed } from '../streaming.ts'

type Options = Values<typeof distillOptions>

/** What a distillation of all layers writes beside its model, and one of a shard beside its maps. */
interface Value {
  readonly out: string
  readonly map: string
  readonly layers: readonly DistilledLayer[]
  readonly seconds: number
  readonly tokensPerSecond: number
  /** Seconds that the computation waited for weights. */
  readonly waited: number
  readonly peakMemoryBytes: number
}

export const run: Run<typeof distillOptions, 'model'> = async (context, { model: path }, options) => {
  const { shard, keep, force, checkpointEvery } = options
  const dir = options.out ?? `${basename(resolve(path))}-distilled`
  if (resolve(dir) === resolve(path)) {
    throw new UsageError(`--out: ${dir} is the model that is distilled; choose another folder`)
  }
  const out = shard ? join(dir, shardFolder(shard)) : dir
  const again = unforced(context.commandLine)
  const folder = await openJob(context, { out, force, resume: !force, again, ...(keep && { keep }) }, partFile)
  const source = await context.run(openSource(path))
  const { files, model, plan } = await openStreamed(context, path, source, options)
  const { config } = files
  const { map, recipe } = recipeOf(options, files, context.seed)
  const layers = shard ? usage(() => layersOfShard(config.layers, shard)) : layersOf(config)
  const settings = {
    ...{ model: await checkpointDigest(source), layers: config.layers, map, recipe, seed: context.seed },
    data: await filesDigest([...options.data, ...(options.validation ? [options.validation] : [])]),
    ...(shard && { shards: shard.shards }),
  }
  const tokenizer = await loadTokenizer(source)
  const texts = encodeDocuments(tokenizer, await readTexts(options.data))
  const held = options.validation
    ? encodeDocuments(tokenizer, await readTexts([options.validation]))
    : texts.subarray(texts.length - heldTokens(texts.length, recipe.length))
  const trainTokens = options.validation ? texts : texts.subarray(0, texts.length - held.length)
  const student = linearize(model, map, random(context.seed).split('maps'))
  const params = Object.fromEntries(
    Object.entries(student.params).filter(([name]) => !isMapPath(name) || within(layerOf(config, name), layers)),
  )
  const maps = Object.fromEntries(Object.entries(params).filter(([name]) => isMapPath(name)))
  const { batch, length } = recipe
  const planned = plan({ batch, length, learned: countParams(maps), pass: 'distill', blocks: layers.end })
  try {
    const job = await folder.begin(settings)
    if (job.finished) return outcomeOf(job.finished as unknown as Value, shard !== undefined)
    const device = await openDevice(options.device, options.threads === undefined ? {} : { threads: options.threads })
    const every = checkpointEvery !== undefined && { checkpointEvery }
    const data = { trainTokens, validationTokens: held }
    const { signal } = context
    const { blocks } = planned.streams
    const host = { clock, signal, store: job.stages, ...every }
    const done = await job.run(
      distillLayers({ ...host, ...data, device, config: student.config, params, blocks, layers, recipe }),
    )
    const tokens = recipe.steps * recipe.batch * recipe.length
    const value: Value = {
      ...{ out, map, layers: done.layers, seconds: done.seconds, tokensPerSecond: tokens / done.seconds },
      waited: planned.reading().waited,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    }
    await job.finish(async (sink) => {
      if (shard) await writeSafetensors(sink, mapsFile, done.maps)
      else await saveFrom(sink, files, { config: student.config, params: done.maps }, { tokenizer: tokenizer.json })
      await writeJson(sink, partFile, { ...value, range: layers, settings, curve: done.curve })
    })
    return outcomeOf(value, shard !== undefined)
  } finally {
    await planned.dispose()
  }
}

function within(layer: number | undefined, { first, end }: LayerRange): boolean {
  return layer !== undefined && layer >= first && layer < end
}

/** A twentieth of the text, a few blocks at least. */
function heldTokens(tokens: number, length: number): number {
  return Math.max(length + 1, Math.floor(tokens / 20))
}

function recipeOf(options: Options, { config }: ModelFiles, seed: number) {
  const { length = Math.min(256, config.maxLength), batch = distillDefaults.batch, map: name = 'hedgehog' } = options
  if (length > config.maxLength) {
    throw new UsageError(`--length: got ${length}, want at most the model's ${config.maxLength}`)
  }
  const plan = usage(() => planNamed(name), '--map: ')
  if (!isDistilled(plan)) throw new UsageError(`--map: ${name} has no maps that are distilled`)
  const odd = config.attention.findIndex(({ kind }) => kind !== 'softmax')
  if (odd >= 0) throw new RangeError(`distill: layer ${odd} of the model is not softmax attention; want a Transformer`)
  const { steps = distillDefaults.steps, lr = distillDefaults.learningRate, loss = distillDefaults.loss } = options
  const { updates } = options
  if (updates && length % updates !== 0) {
    throw new UsageError(`--updates: got ${updates}, want a divisor of the length ${length}`)
  }
  const recipe = {
    ...{ steps, length, batch, learningRate: lr, loss, seed, adamw: { weightDecay: 0 } },
    validateEvery: Math.ceil(steps / 5),
    ...(updates && { updates }),
  }
  return { map: planName(plan), recipe }
}

function outcomeOf(value: Value, isShard: boolean): Outcome {
  const { out, map, layers, seconds } = value
  const mean = (of: 'before' | 'after') => layers.reduce((sum, layer) => sum + layer[of], 0) / layers.length
  const which = layers.length === 1 ? `layer ${layers[0]!.layer}` : `layers ${layers[0]!.layer}–${layers.at(-1)!.layer}`
  const next = isShard ? '; when all shards are there, put them together with hedgehog merge' : ''
  const text =
    `${out}: ${map} in ${which}, held-out loss ${mean('before').toFixed(4)} → ${mean('after').toFixed(4)} ` +
    `in ${formatSeconds(seconds)}${next}`
  const { out: _, map: __, ...rest } = value
  const { range: _range, settings: _settings, curve: _curve, ...own } = rest as typeof rest & Record<string, unknown>
  return { value: { out, map, ...own }, text }
}

/** What a library function refuses is here a wrong argument. */
function usage<T>(choose: () => T, where = '--shard: '): T {
  try {
    return choose()
  } catch (error) {
    throw new UsageError(`${where}${(error as Error).message}`)
  }
}
