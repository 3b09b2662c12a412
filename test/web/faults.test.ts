import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EngineFault, explained, isEngineFault } from '../../src/web/faults.ts'
import { gpuLoss } from '../../src/web/gpuLoss.ts'

describe('explained', () => {
  const cases = [
    [new Error("Can't create a session. std::bad_alloc"), /^run: the browser has no memory left .*; take shorter/],
    [new RangeError('Array buffer allocation failed'), /no memory left/],
    [123456, /^run: the browser has no memory left for this \(out of memory, as it seems: code 123456\); take/],
  ] as const
  for (const [error, want] of cases) {
    it(`says what to do about ${error}`, () => {
      const found = explained('run', 'wasm', error)
      assert.match(found.message, want)
      assert.ok(isEngineFault(new Error('distill: step 3: …', { cause: found })))
    })
  }

  it('says that the GPU is lost, whatever the engine says then', () => {
    const found = explained('run', 'webgpu', new Error('mapAsync failed'), 'destroyed')
    assert.ok(found instanceof EngineFault)
    assert.match(found.message, /^run: the browser lost the GPU \(destroyed\); start again.*WebAssembly/)
  })

  it('leaves other errors as they are', () => {
    const error = new TypeError('run: x: got an array of int32')
    assert.equal(explained('run', 'wasm', error), error)
    assert.ok(!isEngineFault(error))
  })
})

describe('gpuLoss', () => {
  const device = () => {
    let lose = (_: { message: string }) => {}
    const lost = new Promise<{ message: string }>((resolve) => {
      lose = resolve
    })
    return { lost, lose: () => lose({ message: 'unplugged' }) }
  }

  it('ends calls that never would, and knows why', async () => {
    const [loss, gpu] = [gpuLoss(), device()]
    loss.watch(gpu)
    const call = loss.unless(new Promise(() => {}))
    gpu.lose()
    await assert.rejects(call, /the device was lost: unplugged/)
    assert.equal(await loss.reason(), 'unplugged')
  })

  it('waits for the reason, which comes after the failure', async () => {
    const [loss, gpu] = [gpuLoss(), device()]
    loss.watch(gpu)
    await assert.rejects(loss.unless(Promise.reject(new Error('unmapped'))), /unmapped/)
    setTimeout(gpu.lose, 20)
    assert.equal(await loss.reason(), 'unplugged')
  })

  it('has no reason for failures of other causes', async () => {
    const loss = gpuLoss()
    assert.equal(await loss.unless(Promise.resolve(3)), 3)
    assert.equal(await loss.reason(), undefined)
    loss.watch(device())
    assert.equal(await loss.reason(), undefined)
  })
})
