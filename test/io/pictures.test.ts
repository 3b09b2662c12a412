import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { floats } from '../../src/base/array.ts'
import { readPictureRecipe, usualRecipe } from '../../src/io/pictureRecipe.ts'
import { cropped, type Filter, type Picture, patchesOf, prepared, resized } from '../../src/io/pictures.ts'
import { readGolden } from '../golden.ts'
import { near } from '../tensors.ts'

const golden = readGolden('vit-tiny/golden.safetensors')
const picture: Picture = { width: 23, height: 17, data: Uint8Array.from(golden('picture').data) }

const filters: readonly Filter[] = ['nearest', 'bilinear', 'bicubic', 'lanczos']

function flat(width: number, height: number, value: number): Picture {
  return { width, height, data: new Uint8Array(width * height * 3).fill(value) }
}

describe('resized', () => {
  for (const filter of ['bilinear', 'bicubic'] as const) {
    it(`gives the values that torch gives with antialias, ${filter}, but for its rounding`, () => {
      for (const name of ['smaller', 'larger', 'narrow']) {
        const want = golden(`resized.${filter}.${name}`)
        const [height, width] = want.shape as [number, number]
        const found = resized(picture, width, height, filter)
        let off = 0
        for (let i = 0; i < found.data.length; i++) {
          const distance = Math.abs(found.data[i]! - want.data[i]!)
          assert.ok(distance <= 1, `${name}[${i}]: got ${found.data[i]}, want ${want.data[i]}`)
          off += distance
        }
        // Weights of 15 bits round a value at a half now and then.
        assert.ok(off <= 0.02 * found.data.length, `${name}: ${off} of ${found.data.length} are off by one`)
      }
    })
  }

  it('leaves a picture of that size as it is, and a flat one flat', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...filters),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.nat(255),
        (filter, width, height, value) => {
          assert.deepEqual(resized(picture, 23, 17, filter), picture)
          const found = resized(flat(7, 5, value), width, height, filter)
          assert.deepEqual([found.width, found.height, found.data.length], [width, height, width * height * 3])
          assert.ok(found.data.every((one) => one === value))
        },
      ),
      { numRuns: 40 },
    )
  })

  it('refuses sizes that are none', () => {
    assert.throws(() => resized(picture, 0, 5), /resized: got 0×5, want whole sizes from 1/)
  })
})

describe('cropped', () => {
  it('is the middle, with black around a smaller picture', () => {
    const middle = cropped(picture, { width: 3, height: 5 })
    assert.deepEqual([...middle.data.subarray(0, 9)], [...picture.data.subarray((6 * 23 + 10) * 3, (6 * 23 + 13) * 3)])
    const around = cropped(flat(1, 1, 9), { width: 3, height: 3 })
    assert.deepEqual(
      [...around.data].filter((value) => value > 0),
      [9, 9, 9],
    )
    assert.equal(around.data[4 * 3], 9)
  })
})

describe('prepared', () => {
  it('gives what the image processor of transformers gives, up to the rounding of a pixel', () => {
    const found = prepared(picture, usualRecipe(12))
    assert.deepEqual([...found.shape], [3, 12, 12])
    const want = golden('processed').data
    for (const [i, value] of found.data.entries()) assert.ok(Math.abs(value - want[i]!) < 2.01 / 255)
  })

  it('resizes the shorter side, then cuts out the middle', () => {
    const recipe = { ...usualRecipe(1), size: { shortest: 10 }, crop: { width: 8, height: 9 } }
    assert.deepEqual([...prepared(picture, recipe).shape], [3, 9, 8])
    const { crop: _, ...whole } = recipe
    assert.deepEqual([...prepared(picture, whole).shape], [3, 10, 13])
    assert.deepEqual([...prepared({ ...picture, width: 17, height: 23 }, whole).shape], [3, 13, 10])
  })
})

describe('patchesOf', () => {
  it('holds every value once, in its patch: colour, then row, then column', () => {
    const [channels, height, width, patch] = [2, 4, 6, 2]
    const image = (offset: number) =>
      floats(
        [channels, height, width],
        Float32Array.from({ length: channels * height * width }, (_, i) => offset + i),
      )
    const found = patchesOf([image(0), image(1000)], patch)
    assert.deepEqual([...found.shape], [2, 6, 8])
    for (const [i, value] of found.data.entries()) {
      const [b, rest] = [Math.floor(i / 48), i % 48]
      const [cell, at] = [Math.floor(rest / 8), rest % 8]
      const [channel, y, x] = [Math.floor(at / 4), Math.floor(at / 2) % 2, at % 2]
      const row = Math.floor(cell / 3) * patch + y
      assert.equal(value, b * 1000 + (channel * height + row) * width + (cell % 3) * patch + x)
    }
  })

  it('refuses images that the patches do not divide, of different shapes, or none', () => {
    assert.throws(() => patchesOf([], 2), /got no image/)
    assert.throws(() => patchesOf([floats([3, 5, 4])], 2), /got 4×5 pixels, want multiples of the patch size 2/)
    assert.throws(() => patchesOf([floats([3, 4, 4]), floats([1, 4, 4])], 2), /image 1 is \[1,4,4\], want \[3,4,4\]/)
  })
})

describe('readPictureRecipe', () => {
  it('reads what image processors write', () => {
    assert.deepEqual(readPictureRecipe({}), usualRecipe(224))
    const recipe = readPictureRecipe({
      size: { shortest_edge: 256 },
      resample: 3,
      do_center_crop: true,
      crop_size: { height: 224, width: 220 },
      rescale_factor: 0.5,
      image_mean: [0.1, 0.2, 0.3],
      image_std: [1, 2, 3],
    })
    assert.deepEqual(recipe, {
      size: { shortest: 256 },
      filter: 'bicubic',
      crop: { height: 224, width: 220 },
      scale: 0.5,
      mean: [0.1, 0.2, 0.3],
      deviation: [1, 2, 3],
    })
    assert.deepEqual(readPictureRecipe({ size: 30, do_normalize: false, do_rescale: false }), {
      size: { width: 30, height: 30 },
      filter: 'bilinear',
      scale: 1,
      mean: [0, 0, 0],
      deviation: [1, 1, 1],
    })
    assert.ok(!('size' in readPictureRecipe({ do_resize: false })))
  })

  it('says which key is wrong', () => {
    const cases: readonly [object, RegExp][] = [
      [{ resample: 4 }, /resample: got 4, want 0/],
      [{ size: { height: 10 } }, /size: got \{"height":10\}, want whole numbers/],
      [{ size: 1e9 }, /size: got 1000000000/],
      [{ rescale_factor: 0 }, /rescale_factor: got 0, want a number above 0/],
      [{ image_mean: [1, 2] }, /image_mean: got \[1,2\], want three numbers/],
      [{ image_std: [1, 0, 1] }, /image_std: got \[1,0,1\], want three numbers/],
    ]
    for (const [json, message] of cases) assert.throws(() => readPictureRecipe({ ...json }), { message })
  })
})

it('what is prepared is what a model reads', () => {
  const patches = patchesOf([prepared(picture, usualRecipe(12))], 4)
  assert.deepEqual([...patches.shape], [1, 9, 48])
  near(floats([1], [patches.data[0]!]), { data: [golden('processed').data[0]!] }, 1e-2)
})
