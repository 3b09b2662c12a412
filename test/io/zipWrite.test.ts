import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { zipFolder } from '../../src/io/zipFolder.ts'
import { type ZipInput, zipBytes } from '../../src/io/zipWrite.ts'
import { filesSource } from '../../src/web/files.ts'

/** A file in pieces of three bytes. */
const input = (path: string, bytes: Uint8Array): ZipInput => ({
  path,
  size: bytes.length,
  async *bytes() {
    for (let at = 0; at < bytes.length; at += 3) yield bytes.subarray(at, at + 3)
  },
})

async function archive(files: Readonly<Record<string, Uint8Array>>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = []
  for await (const part of zipBytes(Object.entries(files).map(([path, bytes]) => input(path, bytes)))) parts.push(part)
  return new Uint8Array(Buffer.concat(parts))
}

const open = (bytes: Uint8Array<ArrayBuffer>) => zipFolder(filesSource('here', { 'a.zip': new Blob([bytes]) }), 'a.zip')

describe('zipBytes', () => {
  it('writes what zipFolder reads back, by range too', async () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[a-zü]{1,6}(\/[a-z]{1,4})?\.x$/), { minLength: 1, maxLength: 5 })
    const property = fc.asyncProperty(names, fc.uint8Array({ maxLength: 40 }), async (paths, bytes) => {
      const files = Object.fromEntries(paths.map((path, i) => [path, bytes.subarray(i)]))
      const folder = await open(await archive(files))
      const prefix = paths.every((path) => path.startsWith(`${paths[0]!.split('/')[0]}/`))
        ? paths[0]!.indexOf('/') + 1
        : 0
      assert.deepEqual(await folder.list(), paths.map((path) => path.slice(prefix)).sort())
      for (const path of paths) {
        const want = files[path]!
        assert.equal(await folder.size(path.slice(prefix)), want.length)
        const from = Math.floor(want.length / 2)
        assert.deepEqual(Buffer.from(await folder.read(path.slice(prefix), from)), Buffer.from(want.subarray(from)))
      }
    })
    await fc.assert(property, { numRuns: 50 })
  })

  it('writes checksums that other programs accept', async () => {
    const bytes = await archive({ 'config.json': Buffer.from('{"a": 1}'), 'deep/er.txt': Buffer.from('hedgehog') })
    const stored = new DataView(bytes.buffer).getUint32(14, true)
    // As zlib computes it.
    assert.equal(stored, 0xfba18e97)
  })

  it('refuses a file that is not as long as it says', async () => {
    const wrong = { ...input('a', Uint8Array.of(1, 2)), size: 3 }
    await assert.rejects(async () => {
      for await (const _ of zipBytes([wrong]));
    }, /^Error: zipBytes: a: got 2 bytes, want 3$/)
  })
})

describe('zipFolder', () => {
  it('names a file that is not in the archive', async () => {
    const folder = await open(await archive({ 'model/config.json': Buffer.from('{}') }))
    assert.deepEqual(await folder.list(), ['config.json'])
    await assert.rejects(async () => folder.read('none'), /^Error: here\/a\.zip: has no file none$/)
  })
})
