import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { floats, ints, type NDArray, sizeOf } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { type DynamicInput, traceDynamic } from '../../src/graph/dynamic.ts'
import { toOnnx, usedInputs } from '../../src/graph/onnx.ts'
import {
  add,
  cast,
  concat,
  constantLike,
  cumsum,
  filled,
  gather,
  greater,
  linearRecurrence,
  matmul,
  mul,
  pad,
  reshape,
  slice,
  softmax,
  split,
  sub,
  transpose,
} from '../../src/graph/ops.ts'
import type { Tensor } from '../../src/graph/tensor.ts'
import type { Tensors } from '../../src/graph/trace.ts'
import { joinHeads, repeatHeads, splitHeads } from '../../src/nn/layers.ts'
import { openDevice } from '../../src/node/device.ts'
import { compile } from '../../src/runtime/compile.ts'
import { near } from '../tensors.ts'

const device = await openDevice('cpu', { threads: 1 })

interface Case {
  readonly inputs: Readonly<Record<string, DynamicInput>>
  readonly fn: (inputs: Tensors) => Tensors
}

const float = (...shape: (number | string)[]): DynamicInput => ({ dtype: 'float32', shape })

/** 0, 1, 2, … along the last axis but one: (1 1 n 1). */
const positions = (like: Tensor, n: number) => cumsum(filled(like, [1, 1, n, 1], 1), 2, { exclusive: true })

const cases: Readonly<Record<string, Case>> = {
  'reshapes that join and split axes of unknown size': {
    inputs: { x: float('batch', 'length', 6), w: float(6, 10) },
    fn({ x, w }) {
      const [b, l] = x!.shape as [number, number]
      return { y: reshape(matmul(reshape(x!, [-1, 6]), w!), [b, l, 10]), flat: reshape(x!, [b * l * 6]) }
    },
  },
  'heads split, repeated and joined': {
    inputs: { x: float('batch', 'length', 6) },
    fn: ({ x }) => ({ y: joinHeads(repeatHeads(splitHeads(x!, 2), 3)) }),
  },
  'a causal mask from positions, and a column of ones': {
    inputs: { x: float('batch', 2, 'length', 3) },
    fn({ x }) {
      const at = positions(x!, x!.shape[2]!)
      const scores = mul(matmul(x!, transpose(x!)), sub(1, greater(transpose(at), at)))
      return { y: matmul(scores, concat([x!, filled(x!, [...x!.shape.slice(0, 3), 1], 1)], 3)) }
    },
  },
  'a cache that new positions are put behind, of which none may be there': {
    inputs: {
      past: float('batch', 2, 'past', 3),
      x: float('batch', 2, 'length', 3),
      mask: float('batch', 'past + length'),
    },
    fn({ past, x, mask }) {
      const [p, l] = [past!.shape[2]!, x!.shape[2]!]
      const keys = concat([past!, x!], 2)
      const at = positions(x!, p + l)
      const hidden = mul(greater(transpose(at), slice(at, 2, p, p + l)), -1e9)
      const seen = reshape(mask!, [mask!.shape[0]!, 1, 1, p + l])
      const own = slice(mask!, 1, p, p + l)
      return { keys, y: matmul(softmax(add(add(matmul(x!, transpose(keys)), hidden), seen)), keys), own }
    },
  },
  'rows looked up, the last of them, and padding': {
    inputs: { ids: { dtype: 'int32', shape: ['batch', 'length'] }, table: float(5, 4) },
    fn({ ids, table }) {
      const rows = gather(table!, ids!)
      const l = ids!.shape[1]!
      const [first, rest] = split(pad(rows, 1, 2, 1), [2, l + 1], 1) as [Tensor, Tensor]
      return { last: slice(rows, 1, l - 1, l), first, rest, numbers: cast(ids!, 'float32') }
    },
  },
  'the operator of linear attention': {
    inputs: { q: float('batch', 'length', 6), v: float('batch', 'length', 4), past: float('batch', 2, 3, 2) },
    fn({ q, v, past }) {
      const { out, total } = linearRecurrence(q!, mul(q!, 0.5), v!, past!)
      return { out, total }
    },
  },
}

function filledWith({ dtype, shape }: DynamicInput, sizes: Readonly<Record<string, number>>, seed: number): NDArray {
  const rng = random(seed)
  const known = shape.map((size) =>
    typeof size === 'number' ? size : size.split(' + ').reduce((sum, name) => sum + sizes[name]!, 0),
  )
  const length = sizeOf(known)
  return dtype === 'int32'
    ? ints(
        known,
        Int32Array.from({ length }, () => rng.integer(5)),
      )
    : floats(
        known,
        Float32Array.from({ length }, () => rng.normal()),
      )
}

describe('a graph traced for any sizes is, in the same bytes, the graph of every size', () => {
  for (const [title, { inputs, fn }] of Object.entries(cases)) {
    it(title, async () => {
      const graph = traceDynamic(fn, inputs)
      const session = await device.open(toOnnx(graph))
      const wanted = usedInputs(graph)
      const fixed = compile(device, fn)
      const size = fc.integer({ min: 1, max: 70 })
      await fc.assert(
        fc.asyncProperty(
          fc.record({ batch: fc.integer({ min: 1, max: 3 }), length: size, past: fc.nat(9) }),
          async (sizes) => {
            const given = Object.fromEntries(
              Object.entries(inputs).map(([name, input], i) => [name, filledWith(input, sizes, i)]),
            )
            const got = await session.run(Object.fromEntries(wanted.map((name) => [name, given[name]!])))
            const want = await fixed(given)
            for (const [name, array] of Object.entries(want)) {
              assert.deepEqual([...got[name]!.shape], [...array.shape], name)
              near(got[name], array, 1e-6, name)
            }
          },
        ),
        { numRuns: 12, examples: [[{ batch: 1, length: 1, past: 0 }]] },
      )
      await fixed.dispose()
      await session.dispose()
    })
  }
})

describe('a function cannot be traced for any sizes', () => {
  const input = { x: float('batch', 'length') }
  const refused: Readonly<Record<string, [(x: Tensor) => Tensor, RegExp]>> = {
    'when a constant holds numbers by position': [
      (x) =>
        add(
          x,
          constantLike(x, [x.shape[1]!], (i) => i),
        ),
      /^traceDynamic: a constant \[\d+\] depends on sizes by its values; compute it in the graph/,
    ],
    'when it does more at larger sizes': [
      (x) => Array.from({ length: x.shape[0]! }).reduce<Tensor>((sum, _, i) => add(sum, i), x),
      /^traceDynamic: the function does other things at other sizes$/,
    ],
    'when a size is neither a product nor a sum of others': [
      (x) => slice(x, 1, 0, Math.ceil(x.shape[1]! / 2)),
      /^traceDynamic: .*: got \d+ at \{"batch":\d+,"length":\d+\}, .*want a product or a sum of sizes$/,
    ],
    'when a factor depends on a size': [
      (x) => mul(x, 1 / x.shape[1]!),
      /^traceDynamic: a constant \[\] depends on sizes/,
    ],
  }
  for (const [title, [fn, message]] of Object.entries(refused)) {
    it(title, () =>
      assert.throws(() => traceDynamic(({ x }) => ({ y: fn(x!) }), input), { name: 'RangeError', message }),
    )
  }

  it('when a name is only a part of a size', () => {
    const only = { x: float('batch', 'past + length'), y: float('length') }
    assert.throws(() => traceDynamic(({ x }) => ({ z: x! }), only), {
      message: 'traceDynamic: the size past is no axis of an input, only a part of one',
    })
  })
})
