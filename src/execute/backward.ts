/** Loss and gradients of a model, block by block: the trunk forward, the task's end, and the trunk back. */

import type { Params } from '../base/array.ts'
import { familyOf } from '../models/families.ts'
import type { ModelConfig } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'
import { type BlockSource, functionCache } from './blocks.ts'
import { endOf } from './ends.ts'
import { faultOf } from './fault.ts'
import type { Objective } from './objective.ts'
import type { StateStore } from './states.ts'
import { createTrunk } from './trunk.ts'
import { createWorkspace } from './workspace.ts'

/** Where what does not stay in memory comes from, and how much of a pass does. */
export type Streams = Pick<BackwardOptions, 'blocks' | 'states' | 'savedLayers'>

/** The streams among other things. */
export function streamsOf({ blocks, states, savedLayers }: Streams): Streams {
  return { ...(blocks && { blocks }), ...(states && { states }), ...(savedLayers !== undefined && { savedLayers }) }
}

/** Options of {@link createBackward}. */
export interface BackwardOptions {
  /** Which values named in the blocks are kept for the backward pass: the rest is computed again. Default: the family's list, or none beside `states`. */
  readonly saved?: readonly string[]
  /** Layers, from the first, that keep them; the others compute them again. Default: all. */
  readonly savedLayers?: number
  /** Share of residual branches and embeddings that are dropped, 0 ≤ rate < 1. Default 0. */
  readonly dropout?: number
  readonly kernels?: Kernels
  /** Has the parameters of blocks that are not among those that are given; then they are read twice a pass. */
  readonly blocks?: BlockSource
  /** Keeps the states between blocks from the way forward to the way back. Default: they stay in memory. */
  readonly states?: StateStore
}

/**
 * Gradients for a config on a device: one compiled forward and one backward per distinct block. The loss is the task's:
 * cross-entropy of tokens or of classes, or the squared error.
 * @throws RangeError for a dropout outside of its range, or for values saved beside a store of states; TypeError for a task without a loss.
 */
export function createBackward(device: Device, config: ModelConfig, options: BackwardOptions = {}): Objective {
  const family = familyOf(config)
  const { blocks, states, dropout = 0, kernels = plainKernels } = options
  const { saved = states ? [] : family.saved, savedLayers = config.layers } = options
  if (!(dropout >= 0 && dropout < 1)) {
    throw new RangeError(`createBackward: got dropout ${dropout}, want a rate from 0 and below 1`)
  }
  if (states && saved.length > 0) {
    throw new RangeError(`createBackward: got saved values ${saved.join(', ')} beside a store of states, want none`)
  }
  const functions = functionCache(device)
  const parts = { functions, workspace: createWorkspace(), kernels }
  const trunk = createTrunk(config, parts, { saved, dropout, ...streamsOf(options), savedLayers })
  const end = endOf(config, parts)
  // What is summed up in place, while the gradients of blocks can be written over.
  const summed = new Set([...family.lookups.map(({ table }) => table), ...family.embedPaths, ...end.paths])
  const clear = (grads: Params) => {
    for (const path of summed) if (grads[path]) kernels.fill(grads[path], 0)
  }

  return {
    async accumulate(params, grads, batch, { tokenWeight, fresh = false, rng }) {
      if (fresh) clear(grads)
      const pass = await trunk(params, batch, rng)
      const { total, dx } = await end.run(params, grads, pass.x, batch, tokenWeight)
      if (!Number.isFinite(total)) {
        const fault =
          (await faultOf(device, config, params, batch, blocks)) ?? 'its states are finite, so it overflowed itself'
        throw new Error(`loss: got ${total}: ${fault}; lower the learning rate`)
      }
      await pass.backward(grads, dx, fresh)
      return total
    },
    dispose: functions.dispose,
  }
}
