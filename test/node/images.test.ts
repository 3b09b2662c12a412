import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readGrey, readPicture } from '../../src/node/images.ts'
import { readGolden } from '../golden.ts'

const file = fileURLToPath(new URL('../fixtures/vit-tiny/picture.png', import.meta.url))
const golden = readGolden('vit-tiny/golden.safetensors')
// The package is optional: where npm left it out, only the message about that is tested.
const sharp = await import('sharp').then(
  () => true,
  () => false,
)

describe('readPicture', { skip: !sharp && 'sharp is not installed' }, () => {
  it('decodes a file or its bytes to its pixels', async () => {
    for (const source of [file, await readFile(file)]) {
      const { width, height, data } = await readPicture(source)
      assert.deepEqual([height, width, 3], golden('picture').shape)
      assert.deepEqual([...data], [...golden('picture').data])
    }
  })

  it('decodes to one grey value per pixel', async () => {
    assert.equal((await readGrey(file)).length, 17 * 23)
  })

  it('names a file that is missing, or no picture', async () => {
    await assert.rejects(readPicture('nowhere/x.png'), /^Error: nowhere\/x\.png: no such file/)
    const text = fileURLToPath(import.meta.url)
    await assert.rejects(readPicture(text), /images\.test\.ts cannot be decoded: /)
    await assert.rejects(readPicture(Uint8Array.of(1, 2, 3)), /a picture cannot be decoded/)
  })
})

describe('without sharp', { skip: sharp && 'sharp is installed' }, () => {
  it('says what to install', async () => {
    await assert.rejects(readPicture(file), /the package sharp is not installed; run npm install sharp/)
  })
})
