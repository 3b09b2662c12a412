/** A softmax decoder in transformers.js, one token after the other from a cache of some length. */

import { dirname } from 'node:path'
import { AutoModelForCausalLM, DynamicCache, env, type PreTrainedModel, Tensor } from '@huggingface/transformers'
import type { Cases } from './measure.ts'

/** A folder as scripts/peers/decoder_with_past.py writes it, and the positions that the cache begins with. */
export interface PeerOptions {
  readonly folder: string
  readonly context: number
}

export const cases = {
  /** Seconds of one token. */
  async transformers({ folder, context }: PeerOptions) {
    env.allowRemoteModels = false
    env.localModelPath = `${dirname(folder)}/`
    const model = await AutoModelForCausalLM.from_pretrained(folder.slice(env.localModelPath.length), { dtype: 'fp32' })
    const cache = cacheOf(model, context)
    let length = context
    return async () => {
      const ids = new Tensor('int64', BigInt64Array.of(7n), [1, 1])
      const mask = new Tensor('int64', new BigInt64Array(length + 1).fill(1n), [1, length + 1])
      const start = performance.now()
      const outputs = await model({ input_ids: ids, attention_mask: mask, past_key_values: cache })
      const taken = (performance.now() - start) / 1000
      if (!Number.isFinite(outputs.logits.data[0])) throw new Error('the peer gave no numbers')
      cache.update(
        Object.fromEntries(
          Object.entries(outputs as Record<string, Tensor>)
            .filter(([name]) => name.startsWith('present'))
            .map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor]),
        ),
      )
      length += 1
      return taken
    }
  },
} satisfies Cases

/** Keys and values as if `context` positions had been read, which would take minutes: small numbers, as the time does not depend on them. */
function cacheOf(model: PreTrainedModel, context: number): DynamicCache {
  const { config } = model as unknown as { config: Record<string, number> }
  const heads = config.num_attention_heads ?? config.n_head!
  const keyHeads = config.num_key_value_heads ?? heads
  const headDim = (config.hidden_size ?? config.n_embd!) / heads
  const entries = Array.from({ length: config.num_hidden_layers ?? config.n_layer! }, (_, layer) =>
    ['key', 'value'].map((part) => {
      const data = new Float32Array(keyHeads * context * headDim).fill(0.01 * (layer + 1))
      return [`past_key_values.${layer}.${part}`, new Tensor('float32', data, [1, keyHeads, context, headDim])] as const
    }),
  )
  return new DynamicCache(Object.fromEntries(entries.flat()))
}
