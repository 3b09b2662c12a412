import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isMapPath } from '../../src/attention/mapParams.ts'
import { type Data, floats, ints, type NDArray } from '../../src/base/array.ts'
import { finish } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { mapsLearned, type StageJob, scored } from '../../src/convert/stages.ts'
import { createGenerator } from '../../src/generate/state.ts'
import { batches } from '../../src/io/batches.ts'
import { newModel } from '../../src/models/families.ts'
import { gpt2 } from '../../src/models/gpt2.ts'
import type { Device } from '../../src/runtime/device.ts'
import { adamw } from '../../src/train/optimizers.ts'
import type { Engine } from '../../src/web/engine.ts'
import { gpuCopies } from '../../src/web/held.ts'
import { device } from '../tensors.ts'

interface Copy {
  bytes?: Data
  destroy(): void
}

/** The CPU behind {@link gpuCopies}: what is kept is read from the copy that was made when it was first used. */
function copyingDevice() {
  const alive = new Set<Copy>()
  let uploads = 0
  const gpu = {
    createBuffer() {
      const copy: Copy = { destroy: () => void alive.delete(copy) }
      alive.add(copy)
      return copy
    },
    queue: {
      writeBuffer(copy: Copy, _offset: number, data: Data) {
        uploads += 1
        copy.bytes = data.slice() as Data
      },
    },
    limits: { maxStorageBufferBindingSize: 2 ** 27 },
  }
  const fromGpuBuffer = (copy: Copy, { dataType, dims }: { dataType: string; dims: readonly number[] }) => {
    assert.ok(alive.has(copy), 'a copy is used after it was freed')
    return { dtype: dataType, shape: dims, data: copy.bytes }
  }
  const engine = { Tensor: { fromGpuBuffer } } as unknown as Engine
  const copies = gpuCopies(engine, gpu as unknown as Parameters<typeof gpuCopies>[1])
  const copying: Device = {
    name: 'copying',
    keep: copies.keep,
    async open(model, files) {
      const session = await device.open(model, files)
      const held = (array: NDArray) => (copies.tensorOf(array) as unknown as NDArray | undefined) ?? array
      return {
        run: (inputs, into) =>
          session.run(Object.fromEntries(Object.entries(inputs).map(([name, array]) => [name, held(array)])), into),
        dispose: session.dispose,
      }
    },
  }
  return { device: copying, copies, alive, uploads: () => uploads }
}

const config = gpt2.configOf({ layers: 2, heads: 2, width: 12, vocab: 23, maxLength: 16 })
const model = linearize(newModel(config, random(1)), 'hedgehog', random(2))
const tokens = Int32Array.from({ length: 300 }, (_, i) => (i * i) % 23)
const host = { clock: () => 0 }
const shape = { length: 12, batch: 2, seed: 0 }

/** Whether a job gives the same on both devices, sending each weight once, and leaves nothing behind. */
async function assertKept<T>(job: (on: Device) => Promise<T>): Promise<void> {
  const copying = copyingDevice()
  assert.deepEqual(await job(copying.device), await job(device))
  assert.ok(copying.uploads() > 0, 'no weight was kept')
  assert.ok(copying.uploads() <= Object.keys(model.params).length, `${copying.uploads()} copies were made`)
  assert.equal(copying.alive.size, 0)
}

describe('weights that are kept on a GPU', () => {
  it('are sent once while maps learn, which change and are not kept', async () => {
    await assertKept(async (on) => {
      const learning = {
        ...{ steps: 4, batches: batches(tokens, shape), optimizer: adamw(), learningRate: 1e-2, seed: 0 },
        loss: 'both' as const,
      }
      const { model: learned, curve } = await finish(mapsLearned({ ...host, device: on }, 'x', model, learning))
      return { curve, maps: Object.entries(learned.params).filter(([path]) => isMapPath(path)) }
    })
  })

  it('are sent once while a model is scored', async () => {
    const job = { ...host, testTokens: tokens, finetune: { ...shape, steps: 1, learningRate: 1e-3 } }
    await assertKept((on) => finish(scored({ ...job, device: on } as unknown as StageJob, 'x', model)))
  })

  it('are sent once while a model writes, block by block and as one graph', async () => {
    await assertKept(async (on) => {
      const generator = createGenerator(on, model, { wholeAfter: 2 })
      let { state } = await generator.advance(generator.start(), ints([1, 3], [5, 1, 2]))
      const seen: number[] = []
      for (let i = 0; i < 6; i++) {
        const next = await generator.advance(state, ints([1, 1], [i]))
        seen.push(...next.logits.data)
        state = next.state
      }
      await generator.dispose()
      return seen
    })
  })

  it('stay until their last holder lets them go', () => {
    const { copies, alive, uploads } = copyingDevice()
    const array = floats([2, 3])
    const [first, second] = [copies.keep([array, array]), copies.keep([array])]
    assert.ok(copies.tensorOf(array))
    first()
    first()
    assert.ok(copies.tensorOf(array))
    assert.deepEqual([alive.size, uploads()], [1, 1])
    second()
    assert.equal(alive.size, 0)
    assert.equal(copies.tensorOf(array), undefined)
  })
})
