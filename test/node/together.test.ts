import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { folderSource } from '../../src/node/files.ts'
import { tidyFolder, writeTogether } from '../../src/node/together.ts'

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-together-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const encoded = (text: string) => [new TextEncoder().encode(text)]

async function contents(path: string): Promise<Record<string, string>> {
  const files = await folderSource(path).list()
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await readFile(join(path, file), 'utf8')] as const)),
  )
}

describe('files that belong together', () => {
  it('are the old ones until all new ones are written, and then the new ones', async () => {
    const path = join(folder, 'a')
    await writeTogether(path, async (sink) => {
      for (const name of ['config', 'in/weights']) await sink.write(name, encoded('old'))
    })
    const failing = writeTogether(path, async (sink) => {
      await sink.write('config', encoded('new'))
      throw new Error('disk full')
    })
    await assert.rejects(failing, /disk full/)
    assert.deepEqual(await contents(path), { config: 'old', 'in/weights': 'old' })
    await writeTogether(path, (sink) => sink.write('config', encoded('new')))
    assert.deepEqual(await contents(path), { config: 'new', 'in/weights': 'old' })
  })

  it('are made whole, wherever a process ended while it put them in place', async () => {
    const old = { 'a.json': 'old', 'b/c': 'old', d: 'old' }
    const all = { 'a.json': 'new', 'b/c': 'new', d: 'new' }
    for (let moved = 0; moved <= 3; moved++) {
      const path = join(folder, `moved-${moved}`)
      for (const [at, files] of [
        [path, old],
        [join(path, '.new'), { ...all, '.whole': '' }],
      ] as const) {
        await mkdir(join(at, 'b'), { recursive: true })
        for (const [name, text] of Object.entries(files)) await writeFile(join(at, name), text)
      }
      for (const name of Object.keys(all).slice(0, moved)) await rename(join(path, '.new', name), join(path, name))
      await tidyFolder(path)
      assert.deepEqual(await contents(path), all)
      assert.deepEqual((await readdir(path)).sort(), ['a.json', 'b', 'd'])
    }
  })

  it('are forgotten where a process ended before the last was written', async () => {
    const path = join(folder, 'early')
    await mkdir(join(path, '.new'), { recursive: true })
    await writeFile(join(path, 'config'), 'old')
    await writeFile(join(path, '.new/config'), 'new')
    await writeFile(join(path, '.new/.weights.1.tmp'), 'ne')
    await tidyFolder(path)
    assert.deepEqual(await contents(path), { config: 'old' })
  })
})

it('files that were being written by a process that has ended are removed, others stay', async () => {
  const path = join(folder, 'left')
  await mkdir(join(path, 'work'), { recursive: true })
  // Process 1 always runs; numbers above the largest that Linux gives never do.
  for (const name of ['.x.safetensors.4194999.tmp', 'work/.y.json.4194998.tmp', '.z.1.tmp', 'mine.1.tmp', '.note']) {
    await writeFile(join(path, name), '')
  }
  await tidyFolder(path)
  assert.deepEqual(Object.keys(await contents(path)).sort(), ['.note', '.z.1.tmp', 'mine.1.tmp'])
  await cp(path, join(folder, 'copy'), { recursive: true })
  await tidyFolder(join(folder, 'no such folder'))
})
