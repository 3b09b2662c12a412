import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { folderSink, folderSource } from '../../src/node/files.ts'

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-files-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const bytes = (text: string) => new TextEncoder().encode(text)

test('what was written in parts is read back whole and by range', async () => {
  await folderSink(folder).write('sub/a.bin', [bytes('hedge'), bytes(''), bytes('hog')])
  const source = folderSource(folder)
  assert.equal(await source.size('sub/a.bin'), 8)
  assert.deepEqual(await source.read('sub/a.bin'), bytes('hedgehog'))
  assert.deepEqual(await source.read('sub/a.bin', 2, 6), bytes('dgeh'))
  assert.deepEqual(await source.read('sub/a.bin', 8, 8), bytes(''))
  assert.deepEqual(await source.list(), ['sub/a.bin'])
})

test('a range outside the file is a RangeError that names the file and its size', async () => {
  await folderSink(folder).write('short', [bytes('abc')])
  for (const [start, end] of [
    [-1, 2],
    [2, 1],
    [0, 4],
    [Number.NaN, 2],
  ] as const) {
    await assert.rejects(folderSource(folder).read('short', start, end), /short: got bytes .* \[0, 3\)/)
  }
})

test('a missing folder, a missing file and a folder in place of a file are named', async () => {
  await folderSink(folder).write('sub/b', [bytes('b')])
  const gone = join(folder, 'gone')
  await assert.rejects(folderSource(gone).list(), { message: `${gone}: no such folder` })
  await assert.rejects(folderSource(gone).read('x'), { message: `${gone}: no such folder` })
  await assert.rejects(folderSource(folder).size('x.json'), { message: `${folder}: has no file x.json` })
  await assert.rejects(folderSource(folder).size('sub'), /sub is a folder, want a file/)
  await assert.rejects(folderSource(folder).read('sub'), /sub is a folder, want a file/)
})

test('a file name that leads out of the folder is refused', async () => {
  for (const name of ['../x', '/etc/hostname', 'sub/../../x', '', '.']) {
    await assert.rejects(async () => folderSource(folder).read(name), /inside the folder/)
    await assert.rejects(async () => folderSink(folder).write(name, []), /inside the folder/)
  }
})

test('a write that fails half way leaves the old file, no temporary one, and says disk full', async () => {
  const own = join(folder, 'atomic')
  await folderSink(own).write('model', [bytes('old')])
  const failing = async function* () {
    yield bytes('half of the new')
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  }
  await assert.rejects(folderSink(own).write('model', failing()), {
    message: `${join(own, 'model')}: not written: disk full`,
  })
  assert.equal(await readFile(join(own, 'model'), 'utf8'), 'old')
  assert.deepEqual(await readdir(own), ['model'])
})

test('a sink whose folder is a file says so in one line', async () => {
  const file = join(folder, 'plain')
  await writeFile(file, 'x')
  await assert.rejects(folderSink(file).write('a', [bytes('a')]), (error: Error) => !error.message.includes('\n'))
  await assert.rejects(folderSource(file).list(), /is a file, want a folder/)
})
