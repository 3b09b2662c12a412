/** Checkpoints of LoLCATs: the softmax model, the learned attention beside it, and the settings that join them. */

import { featureMap } from '../attention/featureMaps.ts'
import { isMapPath } from '../attention/mapParams.ts'
import { type AttentionPlan, planName } from '../attention/plan.ts'
import type { WrittenTensor } from '../io/safetensors.ts'
import { bytesOf, type ModelFiles, saveFrom } from '../models/files.ts'
import type { Json, ModelConfig } from '../models/model.ts'
import { checkFamily, onePlan, refuse, tensorOf, unconverted, writeCheckpoint } from './checkpoints.ts'
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
  const base = model.paths.filter((path) => !isMapPath(path))
  const plain = { ...model, paths: base, dtype: () => 'F32' }
  await saveFrom(sink, plain, { config: unconverted(model.config), params: {} })
  const file = await writeCheckpoint(sink, 'attention.safetensors', attentionTensors(model))
  await writeTextFiles(job)
  const yaml = yamlOf({ name: model.config.family, model: baseSettings(model.config), attention: settings })
  await sink.write('lolcats.yaml', [new TextEncoder().encode(yaml)])
  return { files: [{ path: 'model.safetensors', bytes: bytesOf(model, base) }, file] }
}

function attentionSettings({ attention, headDim }: ModelConfig): Json {
  const { plan, softmaxLayers } = onePlan('LoLCATs', attention)
  if (!plan) refuse('LoLCATs', 'a model of softmax attention alone', 'convert it first')
  const map = 'map' in plan && (plan.kind === 'linear' || (plan.kind === 'hybrid' && !plan.part)) ? plan.map : undefined
  if (map === undefined || !variant.test(map) || (plan.kind === 'hybrid' && plan.sinks)) {
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
  if (plan.kind === 'hybrid' && plan.sinks) return `it has no sinks: ${want}`
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

/** Maps and gates; where queries and keys share a map, both are kept there. */
function attentionTensors(files: ModelFiles): WrittenTensor[] {
  const found = files.paths.filter(isMapPath).map((path) => tensorOf(files, 'lolcats', path))
  const names = new Set(found.map(({ name }) => name))
  const shared = found.flatMap((tensor) => {
    const name = tensor.name.replace('feature_map_q.', 'feature_map_k.')
    return names.has(name) ? [] : [{ ...tensor, name }]
  })
  return [...found, ...shared].map((tensor) => ({ ...tensor, name: `model.${tensor.name}` }))
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
