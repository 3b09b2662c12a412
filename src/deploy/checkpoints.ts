/** What checkpoints of other programs share: which models they can hold, and files of one. */

import type { AttentionPlan } from '../attention/plan.ts'
import { planName } from '../attention/plan.ts'
import { floats, sizeOf } from '../base/array.ts'
import type { Sink } from '../io/files.ts'
import { type MapDialect, mapTo } from '../io/mapNames.ts'
import { type WrittenTensor, writeTensors } from '../io/safetensors.ts'
import { readConfig } from '../models/families.ts'
import type { ModelFiles } from '../models/files.ts'
import type { Json, ModelConfig } from '../models/model.ts'

/** @throws RangeError that names what a format cannot hold. */
export function refuse(program: string, what: string, advice: string): never {
  throw new RangeError(`export: ${program} cannot hold ${what}; ${advice}`)
}

/** @throws RangeError unless the model predicts tokens, is of one of the families, and has no adapter. */
export function checkFamily(
  program: string,
  { family, task, adapter }: ModelConfig,
  families: readonly string[],
): void {
  if (!families.includes(family)) refuse(program, `a ${family} model`, `want ${families.join(' or ')}`)
  if (task !== 'language') refuse(program, `a model for ${task}`, 'want one that predicts the next token')
  if (adapter) refuse(program, 'an adapter beside the weights', 'merge it first (hedgehog merge)')
}

/**
 * The attention that all layers have but those listed, which have softmax attention.
 * @throws RangeError when layers have several others.
 */
export function onePlan(
  program: string,
  plans: readonly AttentionPlan[],
): { readonly plan?: AttentionPlan; readonly softmaxLayers: readonly number[] } {
  const softmaxLayers = plans.flatMap(({ kind }, layer) => (kind === 'softmax' ? [layer] : []))
  const others = [...new Set(plans.filter(({ kind }) => kind !== 'softmax').map(planName))]
  if (others.length > 1)
    refuse(program, `layers of ${others.join(' and ')} in one model`, 'want one attention beside softmax')
  const plan = plans.find(({ kind }) => kind !== 'softmax')
  return { softmaxLayers, ...(plan && { plan }) }
}

/** The config of the model as it was before its conversion. */
export function unconverted({ family, json }: ModelConfig): ModelConfig {
  const { hedgehog: _, architectures, ...rest } = json
  const names = Array.isArray(architectures)
    ? architectures.map((name) => String(name).replace(/^Hedgehog/, ''))
    : undefined
  return readConfig({ ...rest, model_type: family, ...(names && { architectures: names }) })
}

/** Ids of special tokens in a config.json. */
export function specialIds(json: Json): Json {
  const keys = ['bos_token_id', 'eos_token_id', 'pad_token_id']
  return Object.fromEntries(keys.flatMap((key) => (json[key] == null ? [] : [[key, json[key]]])))
}

/** A parameter as a tensor of a program's checkpoint, read when it is written. */
export function tensorOf(files: ModelFiles, program: MapDialect, path: string): WrittenTensor {
  const { path: name, convert } = mapTo(program, path)
  // Nothing else says what shape it has there.
  const { shape } = convert(floats(files.shape(path)))
  return { name, shape, dtype: 'float32', load: async () => convert(await files.read(path)) }
}

/** Writes tensors as one safetensors file, and says how large it is. */
export async function writeCheckpoint(sink: Sink, path: string, tensors: readonly WrittenTensor[]) {
  await writeTensors(sink, path, tensors, { format: 'pt' })
  return { path, bytes: tensors.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0) }
}
