/** `hedgehog merge`: a LoRA adapter of PEFT or mlx-lm put into the weights of its model. */

import { resolve } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { readAdapter } from '../../io/adapters.ts'
import { loadTokenizer } from '../../io/tokenizer.ts'
import { familyOf } from '../../models/families.ts'
import { loadModel, saveModel } from '../../models/folder.ts'
import { openDevice } from '../../node/device.ts'
import { freeMemory } from '../../node/freeMemory.ts'
import { openSource } from '../../node/source.ts'
import { attachAdapter, mergeLora } from '../../train/lora.ts'
import type { Run } from '../command.ts'
import { makeFolder, openOutput, writeTogether } from '../inputs.ts'
import type { mergeOptions } from '../optionTables.ts'

export const run: Run<typeof mergeOptions, 'model' | 'adapter'> = async (context, args, { out, force, device }) => {
  if ([args.model, args.adapter].some((path) => resolve(path) === resolve(out))) {
    throw new UsageError(`--out: ${out} is what is merged; choose another folder`)
  }
  await openOutput(out, { replace: force })
  const source = await context.run(openSource(args.model))
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
