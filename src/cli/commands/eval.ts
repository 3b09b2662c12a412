/** `hedgehog eval`: perplexity of a model on text. */

import { UsageError } from '../../base/errors.ts'
import { createForward } from '../../execute/forward.ts'
import { scoreJob } from '../../execute/perplexity.ts'
import { encodeDocuments, heldOut } from '../../io/batches.ts'
import { openDevice } from '../../node/device.ts'
import type { Run } from '../command.ts'
import { clock, openModel, readTexts } from '../inputs.ts'
import type { evalOptions } from '../optionTables.ts'

export const run: Run<typeof evalOptions, 'model'> = async (context, { model: path }, options) => {
  const { model, tokenizer } = await openModel(path, context)
  const { length = Math.min(256, model.config.maxLength), batch = 8, maxTokens } = options
  if (length > model.config.maxLength) {
    throw new UsageError(`--length: got ${length}, want at most the model's ${model.config.maxLength}`)
  }
  const tokens = encodeDocuments(tokenizer, await readTexts(options.data)).subarray(0, maxTokens)
  const device = await openDevice(options.device as 'cpu')
  const forward = createForward(device, model.config)
  const blocks = [...heldOut(tokens, { length, batch })]
  const { signal } = context
  const score = await context.run(scoreJob(forward, model.params, blocks, { phase: 'score', clock, signal }))
  await forward.dispose()
  const { perplexity, loss } = score
  return {
    value: { model: path, ...score },
    text: `perplexity ${perplexity.toFixed(2)} (loss ${loss.toFixed(4)} nats) on ${score.tokens} tokens, ${length} at a time`,
  }
}
