import { describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import { blockInputs, traceBlock } from '../../src/execute/blocks.ts'
import { below, prefixed } from '../../src/nn/params.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { doubles, near, normals, run } from '../tensors.ts'
import { nameOf, plans, tinyModel } from './tiny.ts'

const shape = [2, 5, 6]

for (const plan of plans) {
  describe(`dropout in a block with ${nameOf(plan)}`, () => {
    const { config, params } = tinyModel(plan)
    const x = normals(random(1), shape)
    const weights: Arrays = Object.fromEntries(
      Object.entries(blockInputs(config, params, 0)).map(([name, array]) => [
        name,
        doubles(array.shape, Float64Array.from(array.data)),
      ]),
    )
    const block = async (inputs: Arrays) => {
      const { y } = await run((given) => ({ y: traceBlock(config, 0, given) }), { x, ...inputs })
      return y!
    }
    /** One factor for all of each branch. */
    const factors = (...branches: number[]) =>
      doubles(
        [2, ...shape],
        branches.map((factor) => Array(60).fill(factor)),
      )
    /** The weights without what the projections of these modules add to the residual stream. */
    const without = (...modules: string[]): Arrays => {
      const paths = modules.flatMap((name) => [`${name}.c_proj.weight`, `${name}.c_proj.bias`])
      const own = below('p.', weights)
      const zeros = paths.map((path) => [path, doubles(own[path]!.shape, own[path]!.data.map(() => 0) as Float64Array)])
      return { ...weights, ...prefixed('p.', Object.fromEntries(zeros)) }
    }

    it('leaves the block as it is where nothing is dropped, and its input alone where all is', async () => {
      near(await block({ ...weights, dropout: factors(1, 1) }), await block(weights), 1e-14)
      near(await block({ ...weights, dropout: factors(0, 0) }), x, 1e-14)
    })

    it('has factors for the attention and one for the feed-forward branch', async () => {
      near(await block({ ...weights, dropout: factors(1, 0) }), await block(without('mlp')), 1e-14)
      near(await block({ ...weights, dropout: factors(0, 1) }), await block(without('attn')), 1e-14)
    })
  })
}
