import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type FloatArray, floats, sizeOf } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { spilledStates } from '../../src/node/spilledStates.ts'
import { tidyFolder } from '../../src/node/together.ts'
import { tinyBatch, tinyModel, zerosLike } from '../execute/tiny.ts'
import { device } from '../tensors.ts'

let folder = ''
const at = (name: string) => join(folder, name)
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-spilled-'))
})
after(() => rm(folder, { recursive: true, force: true }))

function drawn(seed: number, shape: readonly number[]): FloatArray {
  const rng = random(seed)
  return floats(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => rng.normal()),
  )
}

describe('states between blocks in a file', () => {
  it('are those that were written last, whatever was read before, of this shape or another', async () => {
    const states = spilledStates(at('order'))
    for (const shape of [
      [2, 3, 5],
      [1, 7],
      [2, 3, 5],
    ]) {
      for (const layer of [0, 1, 2, 3]) await states.write(layer, drawn(layer + shape.length, shape))
      // The pass ends above the lowest layer, which was then read for nothing.
      for (const layer of [3, 2, 1]) {
        assert.deepEqual(await states.read(layer, layer - 1), drawn(layer + shape.length, shape))
      }
    }
    assert.deepEqual(await states.read(0), drawn(3, [2, 3, 5]))
    await states.dispose()
  })

  it('read the next ones meanwhile, beside which these stay as they are', async () => {
    const states = spilledStates(at('ahead'))
    for (const layer of [0, 1, 2]) await states.write(layer, drawn(layer, [4, 5]))
    const last = await states.read(2, 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.deepEqual(last, drawn(2, [4, 5]))
    const [first] = await Promise.race([
      states.read(1, 0).then((found) => [found]),
      new Promise<[string]>((resolve) => setImmediate(resolve, ['not there yet'])),
    ])
    assert.deepEqual(first, drawn(1, [4, 5]))
    await states.dispose()
    assert.ok(states.waited() < 1)
  })

  it('give a pass the losses and gradients that it has without, to the bit', async () => {
    const { config, params } = tinyModel({ kind: 'linear', map: 'hedgehog-exp' }, 8)
    const states = spilledStates(at('pass'))
    const [whole, stored] = [createBackward(device, config, { saved: [] }), createBackward(device, config, { states })]
    const [want, got] = [zerosLike(params), zerosLike(params)]
    for (const pass of [0, 1]) {
      const how = { tokenWeight: 0.1, fresh: pass === 0 }
      const loss = await whole.accumulate(params, want, tinyBatch(2, 9, pass), how)
      assert.equal(await stored.accumulate(params, got, tinyBatch(2, 9, pass), how), loss)
      assert.deepEqual(got, want)
    }
    for (const opened of [whole, stored, states]) await opened.dispose()
  })
})

describe('the file of states', () => {
  it('leaves nothing in its folder, neither at the end nor when its process is killed', async () => {
    const states = spilledStates(at('end'))
    await states.write(0, floats([3]))
    await states.dispose()
    assert.deepEqual(await readdir(at('end')), [])
    const module = new URL('../../src/node/spilledStates.ts', import.meta.url).href
    const killed = `import { spilledStates } from '${module}'
      const data = new Float32Array(1000)
      await spilledStates('${at('killed')}').write(0, { dtype: 'float32', shape: [1000], data })
      process.kill(process.pid, 'SIGKILL')`
    const words = ['--import', 'tsx', '--input-type=module', '-e', killed]
    assert.equal(spawnSync(process.execPath, words).signal, 'SIGKILL')
    // Where the system keeps the name of an open file, the next job in the folder removes it.
    await writeFile(join(at('killed'), '.states.4194305.tmp'), 'left')
    await tidyFolder(at('killed'))
    assert.deepEqual(await readdir(at('killed')), [])
  })

  it('says in one line that a disk is full, or that it cannot be there', async (context) => {
    await writeFile(at('file'), '')
    const beside = spilledStates(at('file'))
    await assert.rejects(beside.write(0, floats([3])), /file\S+: states between blocks not written: [^\n]+; make room/)
    await beside.dispose()
    await mkdir(at('disk'))
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40k', 'tmpfs', at('disk')], { stdio: 'ignore' })
    } catch {
      return context.skip('a small disk cannot be mounted here')
    }
    const states = spilledStates(at('disk'))
    try {
      await states.write(0, floats([5000]))
      await assert.rejects(states.write(1, floats([8000])), {
        message: /^\S+disk\S+: states between blocks not written: disk full, [^\n]+; make room there, or take fewer/,
      })
    } finally {
      await states.dispose()
      execFileSync('umount', [at('disk')])
    }
  })
})
