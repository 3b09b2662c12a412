import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import type { AttentionPlan } from '../../src/attention/plan.ts'
import { floats, type NDArray, type Params, sizeOf } from '../../src/base/array.ts'
import { finish } from '../../src/base/progress.ts'
import { type Random, random } from '../../src/base/random.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import type { Objective } from '../../src/execute/objective.ts'
import type { Example } from '../../src/graph/operator.ts'
import { primitives } from '../../src/graph/primitives.ts'
import type { Tensors } from '../../src/graph/trace.ts'
import { prefixed } from '../../src/nn/params.ts'
import { openDevice } from '../../src/node/device.ts'
import { useSoftwareAdapter } from '../../src/node/softwareAdapter.ts'
import { compile } from '../../src/runtime/compile.ts'
import type { Arrays, Device } from '../../src/runtime/device.ts'
import { adamw } from '../../src/train/optimizers.ts'
import { train } from '../../src/train/train.ts'
import { counted, nameOf, tinyBatch, tinyModel, zerosLike } from '../execute/tiny.ts'
import { near } from '../tensors.ts'

useSoftwareAdapter()

const cpu = await openDevice('cpu', { threads: 1 })
/** It refuses graphs of which any part would leave the GPU. */
const gpu = await openDevice('webgpu', { fallback: false }).catch((error: Error) => error)
const skip = gpu instanceof Error ? gpu.message : false

/** The same function on both devices. */
async function both(fn: (inputs: Tensors) => Tensors, inputs: Arrays): Promise<[Arrays, Arrays]> {
  const results: Arrays[] = []
  for (const device of [gpu as Device, cpu]) {
    const run = compile(device, fn)
    results.push(await run(inputs))
    await run.dispose()
  }
  return results as [Arrays, Arrays]
}

function inputsOf(example: Example, rng: Random): Arrays {
  const [low, high] = example.range ?? [-2, 2]
  const arrays = example.shapes.map((shape, i): [string, NDArray] => {
    const bound = example.integers?.[i]
    const length = sizeOf(shape)
    if (bound) return [`x${i}`, { dtype: 'int32', shape, data: Int32Array.from({ length }, () => rng.integer(bound)) }]
    return [
      `x${i}`,
      floats(
        shape,
        Float32Array.from({ length }, () => low + (high - low) * rng.uniform()),
      ),
    ]
  })
  return Object.fromEntries(arrays)
}

/** Drivers may compute sines to 2^−11 only (WGSL, section 15.7.4). */
const tolerances: Readonly<Record<string, number>> = { Sin: 2e-4, Cos: 2e-4 }

describe('on WebGPU, an operator stays on the GPU and gives what the CPU gives', { skip }, () => {
  for (const [op, { examples }] of Object.entries(primitives)) {
    if (examples.length === 0) continue
    it(op, async () => {
      for (const [index, example] of examples.entries()) {
        const apply = (inputs: Tensors) => {
          const xs = Object.values(inputs)
          return Object.fromEntries(xs[0]!.trace.apply(op, xs, example.attrs).map((y, i) => [`y${i}`, y]))
        }
        const [got, want] = await both(apply, inputsOf(example, random(index)))
        for (const [name, array] of Object.entries(want)) {
          assert.deepEqual(got[name]!.shape, array.shape)
          near(got[name], array, tolerances[op] ?? 1e-4, JSON.stringify(example))
        }
      }
    })
  }
})

describe('on WebGPU, a run', { skip }, () => {
  it('writes into the arrays that are offered, also where they are inputs', async () => {
    const run = compile(gpu as Device, ({ sum, x }) => ({ next: sum!.trace.apply('Add', [sum!, x!])[0]! }))
    const sum = floats([3], [1, 2, 3])
    for (const _ of [1, 2, 3]) {
      const { next } = await run({ sum, x: floats([3], [1, 10, 100]) }, { next: sum })
      assert.equal(next, sum)
    }
    assert.deepEqual([...sum.data], [4, 32, 303])
    await run.dispose()
  })
})

const plans: readonly AttentionPlan[] = [{ kind: 'softmax' }, { kind: 'linear', map: 'hedgehog-softmax' }]

for (const plan of plans) {
  describe(`on WebGPU, a model with ${nameOf(plan)} is what it is on the CPU`, { skip }, () => {
    const model = tinyModel(plan)
    const batch = tinyBatch(2, 9)

    it('forward', async () => {
      const [got, want] = await onBoth(async (device) => {
        const forward = createForward(device, model.config)
        const h = await forward.hidden(model.params, batch)
        const losses = await forward.losses(model.params, h, batch.labels)
        await forward.dispose()
        return { h, losses: floats([losses.length], losses) }
      })
      for (const name of ['h', 'losses'] as const) near(got[name], want[name], 1e-4, name)
    })

    it('in every gradient, and after two steps of training', async () => {
      const [got, want] = await onBoth(async (device) => {
        const objective = createBackward(device, model.config)
        const grads = zerosLike(model.params)
        const how = { tokenWeight: 1 / counted(batch), fresh: true }
        const loss = await objective.accumulate(model.params, grads, batch, how)
        const params = await trained(objective, model.params)
        await objective.dispose()
        return { ...prefixed('gradient of ', grads), ...params, loss: floats([], [loss]) } as Params
      })
      for (const [name, array] of Object.entries(want)) near(got[name], array, 1e-4, name)
    })
  })
}

describe('without an adapter', () => {
  it('opening WebGPU fails with one line that says so', {
    skip: process.platform !== 'linux' && 'Linux only',
  }, async () => {
    const door = new URL('../../src/node/device.ts', import.meta.url).href
    const code = `import { openDevice } from '${door}'
      openDevice('webgpu').then(() => console.log('opened'), (error) => console.log(JSON.stringify(error.message)))`
    const env = { ...process.env, VK_ICD_FILENAMES: '/nonexistent', VK_DRIVER_FILES: '/nonexistent' }
    const args = ['--import', 'tsx', '--input-type=module', '-e', code]
    const { stdout } = await promisify(execFile)(process.execPath, args, { env })
    const line = stdout.trim().split('\n').at(-1)!
    assert.match(line, /^"openDevice: webgpu is not to be had on this machine \([^\n]+\); use the device cpu, or/)
    assert.doesNotMatch(line, /\\n/)
  })
})

async function onBoth<T>(work: (device: Device) => Promise<T>): Promise<[T, T]> {
  return [await work(gpu as Device), await work(cpu)]
}

/** Parameters after two steps. */
async function trained(objective: Objective, params: Params): Promise<Params> {
  let seed = 10
  const batches = { next: () => tinyBatch(2, 9, seed++), state: () => seed, restore: () => {} }
  // A large epsilon: where a gradient is nearly 0, Adam would turn its rounding into a whole step.
  const optimizer = adamw({ epsilon: 1e-3 })
  const options = { phase: 'train', steps: 2, batches, optimizer, learningRate: 1e-2, clock: () => 0 }
  return (await finish(train(objective, params, options))).params
}
