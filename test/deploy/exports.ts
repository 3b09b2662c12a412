/** For tests of exports: models of every kind, and exports kept in memory. */

import { planNamed } from '../../src/attention/plan.ts'
import { exportOnnx } from '../../src/deploy/exportOnnx.ts'
import { plainSignature, transformersSignature } from '../../src/deploy/signature.ts'
import type { ExportOptions } from '../../src/deploy/target.ts'
import type { Source } from '../../src/io/files.ts'
import { filesOf } from '../../src/models/files.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import { llama } from '../../src/models/llama.ts'
import type { Model, ModelSizes } from '../../src/models/model.ts'
import type { Session } from '../../src/runtime/device.ts'
import { noisyModel } from '../execute/tiny.ts'
import { type Files, folder } from '../folder.ts'
import { device } from '../tensors.ts'

/** A GPT-2, whose head is its table of tokens. */
export function gpt(attention: string, sizes: Partial<ModelSizes> = {}): Model {
  const plan = planNamed(attention)
  return noisyModel(
    gpt2.configOf({ layers: 1, heads: 2, width: 32, vocab: 24, maxLength: 16, attention: plan, ...sizes }),
  )
}

/** A Llama with rotary positions and grouped keys, its head a matrix of its own where `tied` is false. */
export function llamaOf(attention: string, sizes: Partial<ModelSizes> & { readonly tied?: boolean } = {}): Model {
  const { tied = true, ...rest } = sizes
  const plan = planNamed(attention)
  const config = llama.configOf({
    layers: 1,
    heads: 4,
    keyHeads: 2,
    width: 32,
    vocab: 48,
    maxLength: 64,
    attention: plan,
    ...rest,
  })
  return noisyModel(llama.readConfig({ ...config.json, tie_word_embeddings: tied }))
}

/** The two signatures of graphs. */
export const signatures = {
  onnx: { signature: plainSignature, given: 'kept' },
  'transformers.js': { signature: transformersSignature, given: 'each' },
} as const

/** Exports to memory; `change` is of the bytes of weights as they are read again for the comparison. */
export async function exported(
  model: Model,
  to: keyof typeof signatures,
  options: ExportOptions = {},
  change: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes,
  fileLimit = 2 ** 20,
) {
  const { signature, given } = signatures[to]
  const sink = folder()
  const written: Source = { ...sink, read: async (...range) => change(await sink.read(...range)) }
  const open = (file: string) => openIn(sink.files, file)
  const job = { sink, written, open, device, model: filesOf(model), options }
  return { ...(await exportOnnx(job, signature, { given, file: 'model.onnx', fileLimit })), contents: sink.files }
}

/** A session of a model file in memory with all others beside it. */
export function openIn(files: Files, file: string): Promise<Session> {
  const { [file]: model, ...data } = files
  return device.open(model!, data)
}

/** Bytes that come in parts. */
export async function joined(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const part of parts) all.push(part)
  return Buffer.concat(all)
}
