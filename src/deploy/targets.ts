/** The table of targets: a program that models are exported for is one entry. */

import { writeJson } from '../models/folder.ts'
import { exportOnnx } from './exportOnnx.ts'
import { writeFla } from './fla.ts'
import { modelConfigJson, transformersConfig, writeTextFiles } from './folders.ts'
import { writeLolcats } from './lolcats.ts'
import { plainSignature, transformersSignature } from './signature.ts'
import type { WeightType } from './storage.ts'
import type { Exported, ExportJob, Target } from './target.ts'

const graphOptions = ['type', 'attention', 'positions'] as const

/** What @huggingface/transformers calls types of weights, and puts behind the name of the file. */
const transformersTypes: Readonly<Record<WeightType, { readonly dtype: string; readonly suffix: string }>> = {
  float32: { dtype: 'fp32', suffix: '' },
  float16: { dtype: 'fp16', suffix: '_fp16' },
  int8: { dtype: 'q8', suffix: '_quantized' },
  int4: { dtype: 'q4', suffix: '_q4' },
}

export const exportTargets = {
  onnx: {
    summary: 'one ONNX graph, for ONNX Runtime anywhere: ids and a state in, logits and the next state out',
    takes: graphOptions,
    async write(job) {
      const { sink, model } = job
      const written = await exportOnnx(job, plainSignature, { given: 'kept', file: 'model.onnx' })
      await writeTextFiles(job)
      await writeJson(sink, 'config.json', modelConfigJson(model.config))
      return written
    },
  },
  'transformers.js': {
    summary: 'a folder that @huggingface/transformers loads and generates with, in Node and in browsers',
    takes: graphOptions,
    async write(job) {
      const { dtype, suffix } = transformersTypes[job.options.type ?? 'float32']
      const file = `model${suffix}.onnx`
      const written = await exportOnnx(job, transformersSignature, { given: 'each', file: `onnx/${file}` })
      await writeTextFiles(job)
      await writeJson(
        job.sink,
        'config.json',
        transformersConfig(job.model.config, file, dtype, written.files.length - 1),
      )
      return written
    },
  },
  fla: {
    summary: 'a checkpoint of flash-linear-attention (linear_attn); see what it cannot hold',
    takes: ['inexact'],
    write: writeFla,
  },
  lolcats: {
    summary: 'a checkpoint of LoLCATs: the softmax model, the learned attention, and the settings',
    takes: [],
    write: writeLolcats,
  },
} as const satisfies Record<string, Target>

/** A name in the table of targets. */
export type TargetName = keyof typeof exportTargets

/**
 * Exports a model.
 * @throws RangeError for an option that the target does not take; what {@link Target.write} throws.
 */
export async function exportModel(name: TargetName, job: ExportJob): Promise<Exported> {
  const target: Target = exportTargets[name]
  for (const option of Object.keys(job.options) as (keyof ExportJob['options'])[]) {
    if (job.options[option] !== undefined && !target.takes.includes(option)) {
      throw new RangeError(`export: ${name} takes no ${option}, want ${target.takes.join(', ') || 'no options'}`)
    }
  }
  return target.write(job)
}
