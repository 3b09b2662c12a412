import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { floats } from '../../src/base/array.ts'
import type { Store } from '../../src/io/files.ts'
import { stateFiles } from '../../src/train/stateFiles.ts'
import type { TrainState } from '../../src/train/train.ts'
import { type Files, folder } from '../folder.ts'

const losses = [5, 3, 1, 2, 4, 6]

/** The state after a step; each step but the first was validated. */
function stateOf(step: number): TrainState {
  return {
    step,
    params: { 'a.weight': floats([2], [step, -step]) },
    slots: { m: { 'a.weight': floats([2], [step / 2, 0]) } },
    schedule: { rate: 1 } as never,
    data: { position: step },
    curve: losses
      .slice(0, step)
      .map((validationLoss, i) => ({ step: i + 1, loss: 1, ...(i > 0 && { validationLoss }) })),
    tokens: step,
    seconds: 0,
  }
}

function memory(files: Files = {}): Store & { files: Files } {
  const inner = folder(files)
  return { ...inner, remove: async (path) => void delete inner.files[path] }
}

const fingerprint = '{"job":1}'

describe('the states of a stage', () => {
  it('are the newest few and the best, and the newest is gone on from', async () => {
    const store = memory()
    const states = stateFiles(store, { fingerprint, keep: 2 })
    for (let step = 1; step <= 6; step++) await states.save('train', stateOf(step))
    await states.save('other/stage', stateOf(1))
    assert.deepEqual(
      Object.keys(store.files).filter((file) => file.startsWith('train')),
      ['train.step-000003.safetensors', 'train.step-000005.safetensors', 'train.step-000006.safetensors'],
    )
    const again = stateFiles(store, { fingerprint })
    assert.deepEqual({ ...(await again.resume('train')) }, stateOf(6))
    assert.deepEqual((await again.best('train'))!.step, 3)
    assert.equal((await again.resume('other/stage'))!.step, 1)
    assert.equal(await again.resume('none'), undefined)
  })

  it('that are damaged in any byte are left out, said, and removed', async () => {
    const whole = memory()
    for (const step of [1, 2]) await stateFiles(whole, { fingerprint }).save('train', stateOf(step))
    const file = 'train.step-000002.safetensors'
    const size = whole.files[file]!.length
    for (let at = 0; at < size; at += 7) {
      const bytes = whole.files[file]!.slice()
      bytes[at]! ^= 1 << (at % 8)
      const store = memory({ ...whole.files, [file]: bytes })
      const said: string[] = []
      const found = await stateFiles(store, { fingerprint, say: (line) => said.push(line) }).resume('train')
      // A byte of the padding after the header says nothing.
      if (found?.step === 2) assert.deepEqual({ ...found }, stateOf(2), `byte ${at}`)
      else {
        assert.deepEqual({ ...found }, stateOf(1), `byte ${at}`)
        assert.match(said.join('\n'), /step-000002.*left out\ntrain: goes on from the last good state, that of step 1/)
        assert.deepEqual(Object.keys(store.files), ['train.step-000001.safetensors'])
      }
    }
    for (const length of [0, 5, 40, size - 1]) {
      const store = memory({ [file]: whole.files[file]!.slice(0, length) })
      const said: string[] = []
      assert.equal(await stateFiles(store, { fingerprint, say: (line) => said.push(line) }).resume('train'), undefined)
      assert.match(said.join('\n'), /has no good state left and begins anew/)
    }
  })

  it('of another job are refused, and not taken for damaged', async () => {
    const store = memory()
    await stateFiles(store, { fingerprint }).save('train', stateOf(1))
    await assert.rejects(stateFiles(store, { fingerprint: '{"job":2}' }).resume('train'), /job was 1, now 2/)
    assert.equal(Object.keys(store.files).length, 1)
  })

  it('survive a process that ends at any of its writes and removals', async () => {
    for (let end = 0; ; end++) {
      const store = memory()
      let left = end
      const once = <A extends unknown[]>(run: (...given: A) => Promise<void>) => {
        return async (...given: A) => {
          if (left-- <= 0) throw new Error('ended')
          await run(...given)
        }
      }
      const mortal: Store = { ...store, write: once(store.write), remove: once(store.remove) }
      const states = stateFiles(mortal, { fingerprint })
      let saved = 0
      try {
        for (let step = 1; step <= 6; step++) {
          await states.save('train', stateOf(step))
          saved = step
        }
      } catch {}
      const found = await stateFiles(store, { fingerprint }).resume('train')
      assert.ok((found?.step ?? 0) >= saved, `after ${end} operations`)
      if (found) assert.deepEqual({ ...found }, stateOf(found.step))
      if (saved === 6) break
    }
  })

  it('that cannot be written leave those before them, and say which is the last', async () => {
    const store = memory()
    const states = stateFiles(store, { fingerprint })
    await states.save('train', stateOf(1))
    const full: Store = { ...store, write: async () => Promise.reject(new Error('disk full')) }
    const after = stateFiles(full, { fingerprint })
    await after.resume('train')
    await assert.rejects(after.save('train', stateOf(2)), /disk full/)
    assert.match(after.last()!, /train\.step-000001\.safetensors, after step 1 of train/)
    assert.equal((await states.resume('train'))!.step, 1)
  })
})
