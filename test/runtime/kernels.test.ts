import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { generateKernels } from '../../scripts/build-kernels.ts'
import { type FloatArray, floats, ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { type AdamWNumbers, type Kernels, plainKernels } from '../../src/runtime/kernels.ts'
import { createMemory, type HostMemory } from '../../src/runtime/memory.ts'

const tails = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
const sizes = [...tails, ...tails.map((tail) => 160 + tail), 4099]

/** Both implementations, with where their arrays live: at all four alignments of a lane, and outside of a memory. */
const places = [0, 1, 2, 3].map((shift) => {
  const memory = createMemory(60000)
  return {
    name: `SIMD at ${shift} mod 4`,
    kernels: memory as Kernels,
    place: (array: FloatArray) => into(memory, array, shift),
  }
})
places.push({ name: 'loops', kernels: plainKernels, place: (array) => floats(array.shape, array.data.slice()) })
const outside = createMemory(16)
places.push({ name: 'SIMD falling back', kernels: outside, place: (array) => floats(array.shape, array.data.slice()) })

/** A copy inside of a memory, `shift` floats after an aligned offset. */
function into(memory: HostMemory, array: FloatArray, shift: number): FloatArray {
  const room = memory.allocate([array.data.length + shift]).data.subarray(shift)
  room.set(array.data)
  return floats(array.shape, room)
}

function normals(shape: readonly number[], seed: number): FloatArray {
  const draws = random(seed)
  const array = floats(shape)
  for (let i = 0; i < array.data.length; i++) array.data[i] = draws.normal()
  return array
}

function assertClose(got: Float32Array, want: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(got.length, want.length)
  for (let i = 0; i < got.length; i++) {
    const error = Math.abs(got[i]! - want[i]!)
    assert.ok(
      error <= tolerance * Math.max(1, Math.abs(want[i]!)),
      `${what}: element ${i} is ${got[i]}, want ${want[i]}`,
    )
  }
}

const step: AdamWNumbers = {
  learningRate: 3e-3,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.1,
  correction1: 1 - 0.9 ** 3,
  correction2: 1 - 0.99 ** 3,
  gradScale: 0.25,
}

/** The textbook formulas, in float64. */
function textbook(p: number, g: number, m: number, v: number, o: AdamWNumbers): [number, number, number] {
  const first = o.beta1 * m + (1 - o.beta1) * g * o.gradScale
  const second = o.beta2 * v + (1 - o.beta2) * (g * o.gradScale) ** 2
  const move = first / o.correction1 / (Math.sqrt(second / o.correction2) + o.epsilon)
  return [p * (1 - o.learningRate * o.weightDecay) - o.learningRate * move, first, second]
}

describe('kernels', () => {
  it('are what the WebAssembly text compiles to', async () => {
    const stored = await readFile(new URL('../../src/runtime/kernels.wasm.ts', import.meta.url), 'utf8')
    assert.equal(stored, await generateKernels(), 'run scripts/build-kernels.ts')
  })

  for (const { name, kernels, place } of places) {
    describe(name, () => {
      it('adamw follows the textbook and leaves the gradient alone', () => {
        for (const n of sizes) {
          const before = [1, 2, 3, 4].map((seed) => normals([n], seed)) as [
            FloatArray,
            FloatArray,
            FloatArray,
            FloatArray,
          ]
          before[3].data.forEach((value, i, all) => {
            all[i] = value * value
          })
          const [p, g, m, v] = before.map(place) as typeof before
          kernels.adamw(p, g, m, v, step)
          const want = Array.from({ length: n }, (_, i) =>
            textbook(before[0].data[i]!, before[1].data[i]!, before[2].data[i]!, before[3].data[i]!, step),
          )
          assertClose(
            p.data,
            want.map((row) => row[0]),
            1e-6,
            `p of ${n}`,
          )
          assertClose(
            m.data,
            want.map((row) => row[1]),
            2e-7,
            `m of ${n}`,
          )
          assertClose(
            v.data,
            want.map((row) => row[2]),
            2e-7,
            `v of ${n}`,
          )
          assert.deepEqual(g.data, before[1].data)
        }
      })

      it('sumSquares is exact to float64 and finite exactly when every element is', () => {
        for (const n of sizes) {
          const array = place(normals([n], n))
          const want = array.data.reduce((sum, x) => sum + x * x, 0)
          assert.ok(Math.abs(kernels.sumSquares(array) - want) <= 1e-13 * want)
          array.data.fill(3e38)
          assert.ok(Number.isFinite(kernels.sumSquares(array)), 'squares beyond float32 are fine')
          for (const bad of [Number.NaN, Infinity, -Infinity]) {
            if (n === 0) continue
            array.data[n - 1] = bad
            assert.ok(!Number.isFinite(kernels.sumSquares(array)), `${bad} at the end of ${n}`)
          }
        }
      })

      it('add, scale and fill equal float32 loops bit for bit', () => {
        for (const n of sizes) {
          const [a, b] = [normals([n], 5), normals([n], 6)]
          const array = place(a)
          kernels.add(array, place(b))
          assert.deepEqual(
            array.data,
            a.data.map((x, i) => x + b.data[i]!),
          )
          const sum = array.data.slice()
          kernels.scale(array, 0.3)
          assert.deepEqual(
            array.data,
            sum.map((x) => x * Math.fround(0.3)),
          )
          kernels.fill(array, 0.7)
          assert.deepEqual(array.data, new Float32Array(n).fill(0.7))
        }
      })

      it('addRows adds each row at its id, and gatherRows reads them', () => {
        for (const width of tails) {
          const [table, rows] = [normals([5, width], 7), normals([6, width], 8)]
          const ids = ints([6], [4, 0, 4, 2, 4, 0])
          const want = Float64Array.from(table.data)
          ids.data.forEach((id, row) => {
            for (let i = 0; i < width; i++) want[id * width + i]! += rows.data[row * width + i]!
          })
          const sums = place(table)
          kernels.addRows(sums, place(rows), ids)
          assertClose(sums.data, want, 3e-7, `width ${width}`)
          const out = place(floats([6, width]))
          kernels.gatherRows(out, sums, ids)
          ids.data.forEach((id, row) => {
            const [got, from] = [out.data.subarray(row * width, row * width + width), sums.data.subarray(id * width)]
            assert.deepEqual(got, from.subarray(0, width))
          })
        }
      })

      it('touch nothing beyond their arrays', () => {
        const room = place(floats([40], new Float32Array(40).fill(9)))
        const inner = (from: number) => floats([3], room.data.subarray(from, from + 3))
        kernels.adamw(inner(2), inner(8), inner(14), inner(20), step)
        kernels.add(inner(26), inner(8))
        kernels.scale(inner(26), 2)
        kernels.fill(inner(32), 1)
        const touched = [2, 14, 20, 26, 32].flatMap((from) => [from, from + 1, from + 2])
        room.data.forEach((value, i) => {
          assert.equal(value !== 9, touched.includes(i), `element ${i}`)
        })
      })

      it('refuse arrays that do not fit and ids outside of the table, changing nothing', () => {
        const [two, three] = [place(floats([2])), place(floats([3]))]
        assert.throws(() => kernels.add(two, three), /add: got arrays of 2, 3 elements/)
        assert.throws(() => kernels.adamw(two, two, two, three, step), RangeError)
        const [table, rows] = [place(floats([4, 2])), place(floats([3, 2], [1, 1, 1, 1, 1, 1]))]
        for (const id of [-1, 4]) {
          assert.throws(
            () => kernels.addRows(table, rows, ints([3], [0, 1, id])),
            new RegExp(`got id ${id} at 2, want 0 to 3`),
          )
          assert.throws(() => kernels.gatherRows(rows, table, ints([3], [0, 1, id])), RangeError)
        }
        assert.throws(() => kernels.addRows(table, rows, ints([2])), /want one row of 2 values per id/)
        assert.throws(() => kernels.addRows(table, rows, floats([3])), TypeError)
        assert.ok(table.data.every((value) => value === 0))
      })
    })
  }

  it('give an element the same bits wherever it stands in an array', () => {
    const memory = createMemory(4096)
    const [p, g, m, v] = [1, 2, 3, 4].map((seed) => normals([23], seed)) as [
      FloatArray,
      FloatArray,
      FloatArray,
      FloatArray,
    ]
    const run = (from: number) => {
      const [a, b, c, d] = [p, g, m, v].map((x) => into(memory, floats([23 - from], x.data.subarray(from)), from % 3))
      memory.adamw(a!, b!, c!, d!, step)
      return a!.data
    }
    const whole = run(0)
    for (const from of [1, 2, 3, 7, 19, 20, 21, 22]) assert.deepEqual(run(from), whole.slice(from))
  })
})
