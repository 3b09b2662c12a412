/** Decodes pictures on disk, with the optional package sharp. */

import { readFile } from 'node:fs/promises'
import type { Picture } from '../io/pictures.ts'

/** The most pixels of a picture: a file of a few bytes can ask for many more. */
const mostPixels = 2 ** 28

/**
 * Decodes a picture (PNG, JPEG, WebP, …) to red, green and blue, turned as its camera was held; transparency is dropped.
 * @param file its path, or its bytes.
 * @throws Error naming the file when it is missing or no picture, or sharp is not installed.
 */
export async function readPicture(file: string | Uint8Array): Promise<Picture> {
  return decoded(file, 'srgb')
}

/** Decodes a picture to its grey values, row by row: (h w). @throws Error as {@link readPicture}. */
export async function readGrey(file: string | Uint8Array): Promise<Uint8Array> {
  return (await decoded(file, 'b-w')).data
}

async function decoded(file: string | Uint8Array, colours: 'srgb' | 'b-w') {
  const sharp = await openSharp()
  const where = typeof file === 'string' ? file : 'a picture'
  const bytes = typeof file === 'string' ? await readBytes(file) : file
  try {
    const image = sharp(bytes, { limitInputPixels: mostPixels }).rotate().removeAlpha().toColourspace(colours)
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, data: new Uint8Array(data) }
  } catch (error) {
    throw new Error(`readPicture: ${where} cannot be decoded: ${(error as Error).message}`, { cause: error })
  }
}

async function readBytes(file: string): Promise<Uint8Array> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${file}: ${error.code === 'ENOENT' ? 'no such file' : `cannot be read: ${error.message}`}`)
  })
}

async function openSharp() {
  try {
    return (await import('sharp')).default
  } catch (error) {
    throw new Error('readPicture: the package sharp is not installed; run npm install sharp', { cause: error })
  }
}
