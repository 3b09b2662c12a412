/** Checkpoints of LoLCATs: the softmax model, the learned attention beside it, and the settings that join them. */

import { featureMap } from '../attention/featureMaps.ts'
import { isMapPath } from '../attention/mapParams.ts'
import { type AttentionPlan, planName } from '../attention/plan.ts'
import type { Params } from '../base/array.ts'
import { mapsTo } from '../io/mapNames.ts'
import { saveModel } from '../models/folder.ts'
import type { Json, ModelConfig } from '../models/model.ts'
import { countParams, prefixed } from '../nn/params.ts'
import { checkFamily, onePlan, refuse, unconverted, writeParams } from './checkpoints.ts'
import { writeTextFiles } from './folders.ts'
import type { Exported, ExportJob } from './target.ts'

const variant = /^hedgehog-softmax(\+half)?(\+tied)?$/

/**
 * Writes the model without its maps as a folder of the reference library, `attention.safetensors` with what LoLCATs keeps
 * of each attention, and `lolcats.yaml`, its settings. @throws RangeError naming what LoLCATs cannot hold.
 */
export async function writeLolcats(job: ExportJob): Promise<Exported> {
  const { sink, model } = job
  checkFamily('LoLCATs', model.config, ['llama', 'mistral'])
  const settings = attentionSettings(model.config)
  const [maps, rest] = [true, false].map((wanted) =>
    Object.fromEntries(Object.entries(model.params).filter(([path]) => isMapPath(path) === wanted)),
  ) as [Params, Params]
  const attention = prefixed('model.', mapsTo('lolcats', withKeyMaps(maps)))
  await saveModel(sink, { config: unconverted(model.config), params: rest })
  const file = await writeParams(job, 'attention.safetensors', attention)
  await writeTextFiles(job)
  const yaml = yamlOf({ name: model.config.family, model: baseSettings(model.config), attention: settings })
  await sink.write('lolcats.yaml', [new TextEncoder().encode(yaml)])
  return { files: [{ path: 'model.safetensors', bytes: 4 * countParams(rest) }, file] }
}

function attentionSettings({ attention, headDim }: ModelConfig): Json {
  const { plan, softmaxLayers } = onePlan('LoLCATs', attention)
  if (!plan) refuse('LoLCATs', 'a model of softmax attention alone', 'convert it first')
  const map = 'map' in plan && (plan.kind === 'linear' || (plan.kind === 'hybrid' && !plan.part)) ? plan.map : undefined
  if (map === undefined || !variant.test(map)) {
    refuse('LoLCATs', `attention by ${planName(plan)}`, reasonOf(plan))
  }
  return {
    attention_type: plan.kind === 'hybrid' ? 'lolcats_llama_window_sw' : 'lolcats_llama',
    ...(plan.kind === 'hybrid' && { window_size: plan.window, affine_attention_factors: false, init_window_factor: 0 }),
    ...(softmaxLayers.length && { softmax_attentions: softmaxLayers }),
    feature_map: 'softmax_dim',
    feature_map_kwargs: { eps: 1e-12, fullspace: true },
    layer_idx: null,
    learned_kernel: 'untied_head_einsum',
    learned_kernel_kwargs: {
      feature_dim: featureMap(map).features(headDim) / 2,
      skip_connection: false,
      bias: false,
      zero_init: false,
    },
    tie_qk_kernels: map.endsWith('+tied'),
    train_qk: false,
  }
}

function reasonOf(plan: AttentionPlan): string {
  const want = 'want hedgehog-softmax, with +half or +tied, or hybrid:W of it'
  const isExp = 'map' in plan && plan.map.startsWith('hedgehog-exp')
  return isExp ? `its exponential map scales every key by itself, which is another function: ${want}` : want
}

function baseSettings({ json }: ModelConfig): Json {
  return {
    pretrained_model_name_or_path: '.',
    return_dict: true,
    load_in_8bit: false,
    load_in_4bit: false,
    torch_dtype: 'float32',
    attn_implementation: 'eager',
    ...(json.rope_theta != null && { rope_theta: json.rope_theta }),
    ...(json.rope_scaling != null && { rope_scaling: json.rope_scaling }),
  }
}

/** Maps of keys where queries and keys share one, as both are kept there. */
function withKeyMaps(maps: Params): Params {
  const shared = Object.entries(maps).flatMap(([path, array]) => {
    const other = path.replace('feature_map_q.', 'feature_map_k.')
    return other in maps ? [] : [[other, array] as const]
  })
  return { ...maps, ...Object.fromEntries(shared) }
}

/** Plain data as YAML: nested blocks, and scalars and lists as in JSON. */
function yamlOf(value: Json, indent = ''): string {
  return Object.entries(value)
    .map(([key, inner]) => {
      const isBlock = typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      if (isBlock) return `${indent}${key}:\n${yamlOf(inner as Json, `${indent}  `)}`
      // A reader of YAML takes 1e-12 for text: it wants a fraction.
      const text = JSON.stringify(inner).replace(/^(-?\d+)e/, '$1.0e')
      return `${indent}${key}: ${text}\n`
    })
    .join('')
}
