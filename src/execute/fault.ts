/** Where numbers stop being finite: what a computation that gave none tells of itself. */

import type { NDArray, Params } from '../base/array.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig, ModelInputs } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import type { BlockSource } from './blocks.ts'
import { createForward } from './forward.ts'

/**
 * The first place on a model's way from a batch to its last states that is not finite, in words: a parameter, by its
 * path and layer; the embedding; a layer that makes it of finite states; the head. Undefined where all are finite.
 */
export async function faultOf(
  device: Device,
  config: ModelConfig,
  params: Params,
  inputs: ModelInputs,
  blocks?: BlockSource,
): Promise<string | undefined> {
  const broken = brokenParameter(config, params)
  if (broken) return broken
  const forward = createForward(device, config, blocks && { blocks })
  try {
    let x = await forward.embed(params, inputs)
    if (!allFinite(x)) return 'the embedding gives states that are not finite'
    const shared = forward.shared(inputs)
    for (let layer = 0; layer < config.layers; layer++) {
      x = await forward.block(params, layer, x, shared)
      if (!allFinite(x))
        return `layer ${layer} (${familyOf(config).blockPrefix(layer)}) makes finite states into ${seen(x)}`
    }
    const h = await forward.head(params, x)
    return allFinite(h) ? undefined : `what follows the last layer makes finite states into ${seen(h)}`
  } finally {
    await forward.dispose()
  }
}

/** The first parameter with a value that is not finite, in words. */
function brokenParameter(config: ModelConfig, params: Params): string | undefined {
  const { blockPrefix } = familyOf(config)
  for (const [path, array] of Object.entries(params)) {
    if (allFinite(array)) continue
    const layer = Array.from({ length: config.layers }, (_, i) => i).find((i) => path.startsWith(blockPrefix(i)))
    const where = layer === undefined ? '' : ` of layer ${layer}`
    return `the parameter ${path}${where} has ${seen(array)}`
  }
  return undefined
}

function allFinite({ data }: NDArray): boolean {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i]!)) return false
  return true
}

/** The first value that is not finite, and where. */
function seen({ data }: NDArray): string {
  const at = data.findIndex((value: number) => !Number.isFinite(value))
  return `${data[at]} at element ${at} of ${data.length}`
}
