/** The table of operators: for each its shape rule, gradient, ONNX form and the examples that test it. */

import { type DType, sizeOf } from '../base/array.ts'
import { emitDoubleErf, step } from './emitDouble.ts'
import { names, number, numbers } from './emitting.ts'
import { layerPrimitives } from './layerPrimitives.ts'
import { type Example, type Operator, onnxTypes } from './operator.ts'
import {
  add,
  concat,
  cos,
  cumsum,
  div,
  equal,
  exp,
  expand,
  filled,
  gatherElements,
  greater,
  matmul,
  minimum,
  mul,
  neg,
  pad,
  reshape,
  scatterAdd,
  sigmoid,
  sin,
  slice,
  sub,
  sum,
  sumTo,
  transpose,
} from './ops.ts'
import { broadcastShapes, reducedShape } from './shapes.ts'
import type { Attrs, Node, Tensor, ValueInfo } from './tensor.ts'

/** y = f(x) element by element; `slope` gives dy/dx from x and y. */
function unary(slope: (x: Tensor, y: Tensor) => Tensor | number, range?: readonly [number, number]): Operator {
  return {
    infer: ([x]) => [x!],
    grad: ({ inputs: [x], outputs: [y] }, [dy]) => [mul(dy!, slope(x!, y!))],
    elementwise: true,
    examples: [
      { shapes: [[2, 3]], ...(range && { range }) },
      { shapes: [[]], ...(range && { range }) },
    ],
  }
}

const broadcastExamples: readonly Example[] = [
  {
    shapes: [
      [2, 3],
      [2, 3],
    ],
  },
  { shapes: [[5, 2, 3], [3]] },
  {
    shapes: [
      [2, 1, 3],
      [5, 1],
    ],
  },
  { shapes: [[2], []] },
]

/** A broadcasting operator of two tensors; `partial` gives both gradients before they are summed down. */
function binary(
  partial: (a: Tensor, b: Tensor, y: Tensor, dy: Tensor) => readonly [Tensor, Tensor],
  examples = broadcastExamples,
): Operator {
  return {
    infer: (inputs) => [broadcasted(inputs)],
    grad: ({ inputs: [a, b], outputs: [y] }, [dy]) => {
      const [da, db] = partial(a!, b!, y!, dy!)
      const lazy = dy!.shape.length !== y!.shape.length || sizeOf(dy!.shape) !== sizeOf(y!.shape)
      return lazy ? [da, db] : [sumTo(da, a!.shape), sumTo(db, b!.shape)]
    },
    elementwise: true,
    examples,
  }
}

function broadcasted([a, b]: readonly ValueInfo[]): ValueInfo {
  if (a!.dtype !== b!.dtype) throw new TypeError(`got operands of ${a!.dtype} and ${b!.dtype}, want one dtype`)
  return { dtype: a!.dtype, shape: broadcastShapes('elementwise', a!.shape, b!.shape) }
}

/** A comparison gives 1 or 0 in the dtype of its operands, so that masks are ordinary factors. */
const comparison: Operator = {
  infer: (inputs) => [broadcasted(inputs)],
  emit(emitter, { op, inputs, outputs }) {
    const bool = emitter.temporary()
    emitter.push(op, names(emitter, inputs), [bool])
    emitter.push('Cast', [bool], names(emitter, outputs), { to: onnxTypes[emitter.info(outputs[0]!).dtype] })
  },
  examples: broadcastExamples,
}

function reduction(
  grad: NonNullable<Operator['grad']>,
  examples: readonly Example[] = [
    { shapes: [[2, 3, 5]], attrs: { axes: [1], keep: 1 } },
    { shapes: [[2, 3, 5]], attrs: { axes: [0, 2], keep: 0 } },
  ],
): Operator {
  return {
    infer: ([x], attrs) => [
      { dtype: x!.dtype, shape: reducedShape(x!.shape, numbers(attrs, 'axes'), number(attrs, 'keep') === 1) },
    ],
    grad,
    emit(emitter, { op, inputs, outputs, attrs }) {
      const axes = emitter.int64(numbers(attrs, 'axes'))
      emitter.push(op, [emitter.name(inputs[0]!), axes], names(emitter, outputs), { keepdims: number(attrs, 'keep') })
    },
    examples,
  }
}

/** The gradient of a reduction with its reduced axes back as size 1, so that it broadcasts against x. */
const keptDims = (dy: Tensor, x: Tensor, attrs: Attrs): Tensor =>
  reshape(dy, reducedShape(x.shape, numbers(attrs, 'axes'), true))

/** An operator whose ONNX form takes int64 inputs where ours has attributes. */
function withInputs(
  attributes: (attrs: Attrs, node: Node) => readonly (readonly number[])[],
  rest: (attrs: Attrs) => Record<string, number> = () => ({}),
): NonNullable<Operator['emit']> {
  return (emitter, node) => {
    const extra = attributes(node.attrs, node).map((values) => emitter.int64(values))
    emitter.push(node.op, [...names(emitter, node.inputs), ...extra], names(emitter, node.outputs), rest(node.attrs))
  }
}

const alias: NonNullable<Operator['emit']> = (emitter, { inputs, outputs }) =>
  emitter.alias(outputs[0]!, inputs.at(-1)!)

/** √(2/π)·2 and the same times 0.044715: gelu(x) = x·σ(x·(A + B·x²)). */
const geluA = 2 * Math.sqrt(2 / Math.PI)
const geluB = geluA * 0.044715

export const primitives: Readonly<Record<string, Operator>> = {
  ...layerPrimitives,

  Add: binary((_a, _b, _y, dy) => [dy, dy]),
  Sub: binary((_a, _b, _y, dy) => [dy, neg(dy)]),
  Mul: binary((a, b, _y, dy) => [mul(dy, b), mul(dy, a)]),
  Div: binary(
    (_a, b, y, dy) => {
      const da = div(dy, b)
      return [da, neg(mul(da, y))]
    },
    broadcastExamples.map((example) => ({ ...example, range: [0.5, 2] as const })),
  ),
  Max: binary((a, b, _y, dy) => {
    const second = greater(b, a)
    return [mul(dy, sub(1, second)), mul(dy, second)]
  }),
  Min: binary((a, b, _y, dy) => {
    const second = greater(a, b)
    return [mul(dy, sub(1, second)), mul(dy, second)]
  }),
  Greater: comparison,
  Equal: comparison,

  Neg: { ...unary(() => -1), grad: (_call, [dy]) => [neg(dy!)] },
  Exp: unary((_x, y) => y),
  Log: { ...unary(() => 1, [0.5, 3]), grad: ({ inputs: [x] }, [dy]) => [div(dy!, x!)] },
  Sqrt: { ...unary(() => 1, [0.5, 3]), grad: ({ outputs: [y] }, [dy]) => [div(mul(dy!, 0.5), y!)] },
  Abs: unary((x) => sub(mul(greater(x, 0), 2), 1)),
  Sin: unary((x) => cos(x)),
  Cos: unary((x) => neg(sin(x))),
  Tanh: unary((_x, y) => sub(1, mul(y, y))),
  Sigmoid: unary((_x, y) => mul(y, sub(1, y))),
  Relu: unary((_x, y) => greater(y, 0)),
  Elu: {
    ...unary((_x, y) => minimum(add(y, 1), 1)),
    emit(emitter, node) {
      const [x, y] = [node.inputs[0]!, emitter.name(node.outputs[0]!)]
      if (emitter.info(x).dtype === 'float32') {
        emitter.push('Elu', [emitter.name(x)], [y])
        return
      }
      const below = step(emitter, 'Exp', step(emitter, 'Min', emitter.name(x), emitter.scalar(0, x)))
      const shifted = step(emitter, 'Sub', below, emitter.scalar(1, x))
      emitter.push('Add', [step(emitter, 'Relu', emitter.name(x)), shifted], [y])
    },
  },
  // ONNX Runtime has no float64 kernels for Gelu and Elu: there they are written out.
  Gelu: {
    ...unary((x, y) => {
      const t = add(mul(mul(x, x), geluB), geluA)
      const s = sigmoid(mul(x, t))
      return add(s, mul(mul(y, sub(1, s)), sub(mul(t, 3), 2 * geluA)))
    }),
    emit(emitter, node) {
      const [x, y] = [node.inputs[0]!, emitter.name(node.outputs[0]!)]
      if (emitter.info(x).dtype === 'float32') {
        emitter.push('Gelu', [emitter.name(x)], [y], { approximate: 'tanh' })
        return
      }
      const square = step(emitter, 'Mul', emitter.name(x), emitter.name(x))
      const scaled = step(emitter, 'Mul', square, emitter.scalar(geluB, x))
      const t = step(emitter, 'Add', scaled, emitter.scalar(geluA, x))
      const s = step(emitter, 'Sigmoid', step(emitter, 'Mul', emitter.name(x), t))
      emitter.push('Mul', [emitter.name(x), s], [y])
    },
  },
  Erf: {
    ...unary((x) => mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))),
    emit(emitter, node) {
      const [x, y] = [node.inputs[0]!, emitter.name(node.outputs[0]!)]
      if (emitter.info(x).dtype === 'float32') emitter.push('Erf', [emitter.name(x)], [y])
      else emitDoubleErf(emitter, x, y)
    },
  },

  Cast: {
    infer: ([x], attrs) => [{ dtype: attrs.to as DType, shape: x!.shape }],
    emit(emitter, { op, inputs, outputs, attrs }) {
      emitter.push(op, names(emitter, inputs), names(emitter, outputs), { to: onnxTypes[attrs.to as DType] })
    },
    examples: [{ shapes: [[2, 3]], attrs: { to: 'int32' } }],
  },
  StopGradient: { infer: ([x]) => [x!], emit: alias, examples: [] },
  Stored: {
    infer: ([computed, stored]) => {
      if (`${computed!.shape}` === `${stored!.shape}`) return [stored!]
      throw new RangeError(`Stored: got a stored shape [${stored!.shape}], want [${computed!.shape}]`)
    },
    grad: (_call, [dy]) => [dy, undefined],
    emit: alias,
    examples: [],
  },

  MatMul: {
    infer: ([a, b]) => [{ dtype: a!.dtype, shape: matmulShape(a!.shape, b!.shape) }],
    grad: ({ inputs: [a, b] }, [dy]) => {
      const rows = b!.shape.length === 2 && a!.shape.length > 2
      const flat = (x: Tensor) => (rows ? reshape(x, [-1, x.shape.at(-1)!]) : x)
      return [sumTo(matmul(dy!, transpose(b!)), a!.shape), sumTo(matmul(transpose(flat(a!)), flat(dy!)), b!.shape)]
    },
    examples: [
      {
        shapes: [
          [2, 3],
          [3, 5],
        ],
      },
      {
        shapes: [
          [7, 2, 3],
          [3, 5],
        ],
      },
      {
        shapes: [
          [2, 1, 2, 3],
          [5, 3, 2],
        ],
      },
    ],
  },
  Transpose: {
    infer: ([x], attrs) => [{ dtype: x!.dtype, shape: numbers(attrs, 'perm').map((axis) => x!.shape[axis]!) }],
    grad: ({ attrs }, [dy]) => {
      const perm = numbers(attrs, 'perm')
      return [
        transpose(
          dy!,
          perm.map((_, axis) => perm.indexOf(axis)),
        ),
      ]
    },
    examples: [{ shapes: [[2, 3, 5]], attrs: { perm: [2, 0, 1] } }],
  },
  Reshape: {
    infer: ([x], attrs) => {
      const shape = numbers(attrs, 'shape')
      if (sizeOf(shape) !== sizeOf(x!.shape) || !shape.every(Number.isInteger)) {
        throw new RangeError(`reshape: got [${x!.shape}] to [${shape}], want whole sizes and as many elements`)
      }
      return [{ dtype: x!.dtype, shape }]
    },
    grad: ({ inputs: [x] }, [dy]) => [reshape(dy!, x!.shape)],
    emit(emitter, { op, inputs, outputs, attrs }) {
      // Axes that stay, and one that is left, need not be computed.
      const { shape } = emitter.info(inputs[0]!)
      const kept = numbers(attrs, 'shape').map((size, i) => (emitter.isDynamic(size) && size === shape[i] ? 0 : size))
      const open = kept.filter(emitter.isDynamic)
      const target = open.length === 1 ? kept.map((size) => (emitter.isDynamic(size) ? -1 : size)) : kept
      emitter.push(op, [emitter.name(inputs[0]!), emitter.int64(target)], names(emitter, outputs))
    },
    examples: [{ shapes: [[2, 3, 5]], attrs: { shape: [6, 5] } }],
  },
  Expand: {
    infer: ([x], attrs) => [{ dtype: x!.dtype, shape: broadcastShapes('expand', x!.shape, numbers(attrs, 'shape')) }],
    grad: ({ inputs: [x] }, [dy]) => [sumTo(dy!, x!.shape)],
    emit(emitter, { op, inputs, outputs, attrs }) {
      // A size of 1 leaves an axis as it is.
      const { shape } = emitter.info(inputs[0]!)
      const target = numbers(attrs, 'shape')
      const lead = target.length - shape.length
      const kept = target.map((size, i) => (emitter.isDynamic(size) && size === shape[i - lead] ? 1 : size))
      emitter.push(op, [emitter.name(inputs[0]!), emitter.int64(kept)], names(emitter, outputs))
    },
    examples: [{ shapes: [[3, 1]], attrs: { shape: [2, 3, 5] } }],
  },
  Concat: {
    infer: (inputs, attrs) => {
      const axis = number(attrs, 'axis')
      const first = inputs[0]!
      const size = inputs.reduce((total, { shape }) => total + shape[axis]!, 0)
      return [{ dtype: first.dtype, shape: first.shape.map((n, i) => (i === axis ? size : n)) }]
    },
    grad: ({ inputs, attrs }, [dy]) => {
      const axis = number(attrs, 'axis')
      const sizes = inputs.map(({ shape }) => shape[axis]!)
      return dy!.trace.apply('Split', [dy!], { sizes, axis })
    },
    examples: [
      {
        shapes: [
          [2, 3],
          [2, 5],
        ],
        attrs: { axis: 1 },
      },
    ],
  },
  Split: {
    infer: ([x], attrs) => {
      const axis = number(attrs, 'axis')
      const sizes = numbers(attrs, 'sizes')
      const total = sizes.reduce((a, b) => a + b, 0)
      if (total !== x!.shape[axis]) throw new RangeError(`split: got sizes ${sizes} of an axis of ${x!.shape[axis]}`)
      return sizes.map((size) => ({ dtype: x!.dtype, shape: x!.shape.map((n, i) => (i === axis ? size : n)) }))
    },
    grad: ({ outputs, attrs }, dys) => [
      concat(
        dys.map((dy, i) => dy ?? zeros(outputs[i]!)),
        number(attrs, 'axis'),
      ),
    ],
    emit: withInputs(
      (attrs) => [numbers(attrs, 'sizes')],
      (attrs) => ({ axis: number(attrs, 'axis') }),
    ),
    examples: [{ shapes: [[2, 5]], attrs: { axis: 1, sizes: [1, 3, 1] } }],
  },
  Slice: {
    infer: ([x], attrs) => {
      const [axis, start, end] = ['axis', 'start', 'end'].map((name) => number(attrs, name))
      const size = x!.shape[axis!]!
      if (start! < 0 || end! > size || start! >= end!) {
        throw new RangeError(`slice: got [${start}, ${end}) of an axis of ${size}`)
      }
      return [{ dtype: x!.dtype, shape: x!.shape.map((n, i) => (i === axis ? end! - start! : n)) }]
    },
    grad: ({ inputs: [x], attrs }, [dy]) => {
      const axis = number(attrs, 'axis')
      return [pad(dy!, axis, number(attrs, 'start'), x!.shape[axis]! - number(attrs, 'end'))]
    },
    emit: withInputs((attrs) => [[number(attrs, 'start')], [number(attrs, 'end')], [number(attrs, 'axis')]]),
    examples: [{ shapes: [[2, 5]], attrs: { axis: 1, start: 1, end: 4 } }],
  },
  Pad: {
    infer: ([x], attrs) => {
      const extra = number(attrs, 'before') + number(attrs, 'after')
      return [{ dtype: x!.dtype, shape: x!.shape.map((n, i) => (i === number(attrs, 'axis') ? n + extra : n)) }]
    },
    grad: ({ inputs: [x], attrs }, [dy]) => {
      const axis = number(attrs, 'axis')
      const before = number(attrs, 'before')
      return [slice(dy!, axis, before, before + x!.shape[axis]!)]
    },
    emit(emitter, node) {
      const pads = (name: string) =>
        emitter
          .info(node.inputs[0]!)
          .shape.map((_, i) => (i === number(node.attrs, 'axis') ? number(node.attrs, name) : 0))
      const amounts = emitter.int64([...pads('before'), ...pads('after')])
      emitter.push('Pad', [emitter.name(node.inputs[0]!), amounts], names(emitter, node.outputs))
    },
    examples: [{ shapes: [[2, 3]], attrs: { axis: 1, before: 2, after: 1 } }],
  },

  ReduceSum: reduction(({ inputs: [x], attrs }, [dy]) => [keptDims(dy!, x!, attrs)]),
  ReduceMean: reduction(({ inputs: [x], outputs: [y], attrs }, [dy]) => [
    mul(keptDims(dy!, x!, attrs), sizeOf(y!.shape) / sizeOf(x!.shape)),
  ]),
  ReduceMax: reduction(({ inputs: [x], outputs: [y], attrs }, [dy]) => {
    const peak = equal(x!, keptDims(y!, x!, attrs))
    const ties = sum(peak, numbers(attrs, 'axes'))
    return [mul(peak, div(keptDims(dy!, x!, attrs), ties))]
  }),
  Softmax: {
    infer: ([x]) => [x!],
    grad: ({ outputs: [y] }, [dy]) => [mul(y!, sub(dy!, sum(mul(y!, dy!), [-1])))],
    examples: [{ shapes: [[2, 3, 5]], attrs: { axis: 2 } }],
  },
  CumSum: {
    infer: ([x]) => [x!],
    grad: ({ attrs }, [dy]) => [
      cumsum(dy!, number(attrs, 'axis'), {
        exclusive: number(attrs, 'exclusive') === 1,
        reverse: number(attrs, 'reverse') !== 1,
      }),
    ],
    emit(emitter, { inputs, outputs, attrs }) {
      const axis = emitter.int64([number(attrs, 'axis')], true)
      emitter.push('CumSum', [emitter.name(inputs[0]!), axis], names(emitter, outputs), {
        exclusive: number(attrs, 'exclusive'),
        reverse: number(attrs, 'reverse'),
      })
    },
    examples: [0, 1].flatMap((exclusive) =>
      [0, 1].map((reverse) => ({ shapes: [[2, 3, 5]], attrs: { axis: 1, exclusive, reverse } })),
    ),
  },
  // The ONNX operator also gives positions and the larger values: only the last is of use here.
  KthLargest: {
    infer: ([x], attrs) => {
      const [k, size] = [number(attrs, 'k'), x!.shape.at(-1)!]
      if (!(k >= 1 && k <= size)) throw new RangeError(`KthLargest: got k = ${k} of ${size}, want 1 to ${size}`)
      return [{ dtype: x!.dtype, shape: [...x!.shape.slice(0, -1), 1] }]
    },
    emit(emitter, { inputs, outputs, attrs }) {
      const [values, positions] = [emitter.temporary(), emitter.temporary()]
      const attributes = { axis: -1, largest: 1, sorted: 1 }
      emitter.push(
        'TopK',
        [emitter.name(inputs[0]!), emitter.int64([number(attrs, 'k')])],
        [values, positions],
        attributes,
      )
      emitter.push('ReduceMin', [values, emitter.int64([-1])], names(emitter, outputs), { keepdims: 1 })
    },
    examples: [{ shapes: [[2, 3, 5]], attrs: { k: 2 } }],
  },

  Gather: {
    infer: ([table, ids]) => [{ dtype: table!.dtype, shape: [...ids!.shape, ...table!.shape.slice(1)] }],
    grad: ({ inputs: [table, ids] }, [dy]) => {
      const width = sizeOf(table!.shape.slice(1))
      const rows = reshape(dy!, [-1, width])
      const indices = expand(reshape(ids!, [-1, 1]), rows.shape)
      const flat = expand(filled(table!, [1, 1], 0), [table!.shape[0]!, width])
      return [reshape(scatterAdd(flat, indices, rows, 0), table!.shape), undefined]
    },
    examples: [
      {
        shapes: [
          [7, 3],
          [2, 5],
        ],
        integers: { 1: 7 },
      },
    ],
  },
  GatherElements: {
    infer: ([x, indices]) => [{ dtype: x!.dtype, shape: indices!.shape }],
    grad: ({ inputs: [x, indices], attrs }, [dy]) => [
      scatterAdd(zeros(x!), indices!, dy!, number(attrs, 'axis')),
      undefined,
    ],
    examples: [
      {
        shapes: [
          [2, 7],
          [2, 3],
        ],
        attrs: { axis: 1 },
        integers: { 1: 7 },
      },
    ],
  },
  // Never ScatterND with add: on a CPU with several threads it races (onnxruntime issues 18048 and 23396).
  ScatterElements: {
    infer: ([x]) => [x!],
    grad: ({ inputs: [, indices], attrs }, [dy]) => [
      dy,
      undefined,
      gatherElements(dy!, indices!, number(attrs, 'axis')),
    ],
    emit(emitter, { op, inputs, outputs, attrs }) {
      emitter.push(op, names(emitter, inputs), names(emitter, outputs), {
        axis: number(attrs, 'axis'),
        reduction: 'add',
      })
    },
    examples: [
      {
        shapes: [
          [5, 3],
          [7, 3],
          [7, 3],
        ],
        attrs: { axis: 0 },
        integers: { 1: 5 },
      },
    ],
  },
}

function zeros(like: Tensor): Tensor {
  return expand(
    filled(
      like,
      like.shape.map(() => 1),
      0,
    ),
    like.shape,
  )
}

function matmulShape(a: readonly number[], b: readonly number[]): number[] {
  if (a.length < 2 || b.length < 2 || a.at(-1) !== b.at(-2)) {
    throw new RangeError(`matmul: got shapes [${a}] and [${b}], want (… m k) and (… k n)`)
  }
  return [...broadcastShapes('matmul', a.slice(0, -2), b.slice(0, -2)), a.at(-2)!, b.at(-1)!]
}
