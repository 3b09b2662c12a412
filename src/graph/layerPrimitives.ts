/** The operators that are layers: norms, rotation, a step of linear attention. ONNX Runtime has one kernel for each. */

import type { DType } from '../base/array.ts'
import { emitDoubleNorm, step } from './emitDouble.ts'
import { names, number } from './emitting.ts'
import { type Emitter, type Operator, onnxTypes } from './operator.ts'
import { add, div, mean, mul, neg, rotate, split, sqrt, sub, sumTo } from './ops.ts'
import { dims } from './shapes.ts'
import type { Node, Tensor, ValueInfo } from './tensor.ts'

export const layerPrimitives: Readonly<Record<string, Operator>> = {
  LayerNormalization: {
    infer: ([x]) => {
      const row = { dtype: x!.dtype, shape: [...x!.shape.slice(0, -1), 1] }
      return [x!, row, row]
    },
    grad: ({ inputs: [x, scale], outputs: [, centre, inverse] }, [dy]) => {
      const normal = mul(sub(x!, centre!), inverse!)
      const g = mul(dy!, scale!)
      const dx = mul(inverse!, sub(sub(g, mean(g, [-1])), mul(normal, mean(mul(g, normal), [-1]))))
      return [dx, sumTo(mul(dy!, normal), scale!.shape), sumTo(dy!, scale!.shape)]
    },
    emit(emitter, { op, inputs, outputs, attrs }) {
      if (emitter.info(inputs[0]!).dtype === 'float64') {
        emitDoubleNorm(
          emitter,
          names(emitter, inputs),
          names(emitter, outputs),
          emitter.scalar(number(attrs, 'epsilon'), inputs[0]!),
        )
        return
      }
      const wanted = outputs.filter((id, i) => i === 0 || emitter.used(id))
      emitter.push(op, names(emitter, inputs), names(emitter, wanted.length > 1 ? outputs : wanted), {
        axis: -1,
        epsilon: { float: number(attrs, 'epsilon') },
      })
    },
    examples: [{ shapes: [[2, 3, 5], [5], [5]], attrs: { epsilon: 1e-5 } }],
  },

  RmsNorm: {
    infer: ([x]) => [x!],
    grad: ({ inputs: [x, scale], attrs }, [dy]) => {
      const inverse = div(1, sqrt(add(mean(mul(x!, x!), [-1]), number(attrs, 'epsilon'))))
      const normal = mul(x!, inverse)
      const g = mul(dy!, scale!)
      return [mul(inverse, sub(g, mul(normal, mean(mul(g, normal), [-1])))), sumTo(mul(dy!, normal), scale!.shape)]
    },
    // Written as ONNX Runtime looks for it, which makes one operator of it; in float64 it would lose precision by that.
    emit(emitter, { inputs, outputs, attrs }) {
      const [x, scale] = names(emitter, inputs) as [string, string]
      const like = inputs[0]!
      const isDouble = emitter.info(like).dtype === 'float64'
      const square = isDouble ? step(emitter, 'Mul', x, x) : step(emitter, 'Pow', x, emitter.scalar(2, like))
      const variance = emitter.temporary()
      emitter.push('ReduceMean', [square, emitter.int64([-1])], [variance], { keepdims: 1 })
      const raised = step(emitter, 'Add', variance, emitter.scalar(number(attrs, 'epsilon'), like))
      const normal = step(emitter, 'Div', x, step(emitter, 'Sqrt', raised))
      emitter.push('Mul', [normal, scale], names(emitter, outputs))
    },
    examples: [{ shapes: [[2, 3, 5], [5]], attrs: { epsilon: 1e-5 } }],
  },
  Rotate: {
    infer: ([x, cosine, sine]) => {
      const [b, , l, d] = x!.shape
      const fits = (table: ValueInfo) =>
        `${table.shape}` === `${l},${d! / 2}` || `${table.shape}` === `${[b, 1, l, d! / 2]}`
      if (x!.shape.length === 4 && fits(cosine!) && `${cosine!.shape}` === `${sine!.shape}`) return [x!]
      const got = `[${x!.shape}], [${cosine!.shape}] and [${sine!.shape}]`
      throw new RangeError(`rotate: got ${got}, want (b h l d) and tables (l d/2) or (b 1 l d/2)`)
    },
    grad: ({ inputs: [x, cosine, sine] }, [dy]) => {
      const half = x!.shape[3]! / 2
      const [left, right] = split(x!, [half, half], -1) as [Tensor, Tensor]
      const [ofLeft, ofRight] = split(dy!, [half, half], -1) as [Tensor, Tensor]
      return [
        rotate(dy!, cosine!, neg(sine!)),
        sumTo(add(mul(ofLeft, left), mul(ofRight, right)), cosine!.shape),
        sumTo(sub(mul(ofRight, left), mul(ofLeft, right)), sine!.shape),
      ]
    },
    emit: emitRotation,
    examples: [
      {
        shapes: [
          [2, 3, 5, 4],
          [5, 2],
          [5, 2],
        ],
      },
      {
        shapes: [
          [2, 3, 5, 4],
          [2, 1, 5, 2],
          [2, 1, 5, 2],
        ],
      },
    ],
  },
  // Σ over earlier positions and its own of φ(k)ᵀ v, times φ(q), from a past on; the engine has no float64 kernel.
  LinearAttention: {
    infer: ([q, k, v, past, decay], { heads: h }) => {
      const { b, l, f, e } = dims('LinearAttention', { q: q!, v: v! }, { q: 'b l f', v: 'b l e' })
      const want = [b!, h as number, f! / (h as number), e! / (h as number)]
      const fits = `${k!.shape}` === `${q!.shape}` && `${past!.shape}` === `${want}`
      if (fits && (!decay || `${decay.shape}` === `${[b, l, h]}`)) return [{ dtype: v!.dtype, shape: v!.shape }, past!]
      throw new RangeError(
        `LinearAttention: got keys [${k!.shape}] and a past [${past!.shape}], want [${[b, l, f]}] and [${want}]`,
      )
    },
    emit(emitter, { op, inputs, outputs, attrs }) {
      const h = number(attrs, 'heads')
      const rule = inputs.length > 4 ? 'gated' : 'linear'
      const attributes = { q_num_heads: h, kv_num_heads: h, scale: { float: 1 }, update_rule: rule }
      const [given, results] = [names(emitter, inputs), names(emitter, outputs)]
      if (emitter.info(inputs[0]!).dtype === 'float32') {
        emitter.push(op, given, results, attributes, 'com.microsoft')
        return
      }
      const cast = (name: string, to: DType, result = emitter.temporary()) => {
        emitter.push('Cast', [name], [result], { to: onnxTypes[to] })
        return result
      }
      const single = results.map(() => emitter.temporary())
      emitter.push(
        op,
        given.map((name) => cast(name, 'float32')),
        single,
        attributes,
        'com.microsoft',
      )
      for (const [i, name] of results.entries()) cast(single[i]!, 'float64', name)
    },
    examples: [
      {
        shapes: [
          [2, 3, 10],
          [2, 3, 10],
          [2, 3, 14],
          [2, 2, 5, 7],
        ],
        attrs: { heads: 2 },
      },
      {
        shapes: [
          [2, 3, 10],
          [2, 3, 10],
          [2, 3, 14],
          [2, 2, 5, 7],
          [2, 3, 2],
        ],
        attrs: { heads: 2 },
      },
    ],
  },
}

/** With ONNX Runtime's own operator, which looks rows of a table up by position; written out for float64. */
function emitRotation(emitter: Emitter, { inputs, outputs }: Node): void {
  const [x, cosine, sine] = names(emitter, inputs) as [string, string, string]
  const [y] = names(emitter, outputs) as [string]
  const [b, , l, d] = emitter.info(inputs[0]!).shape as [number, number, number, number]
  const { dtype, shape } = emitter.info(inputs[1]!)
  // Rows of several sequences have numbers of their own, which must be known.
  if (dtype === 'float64' || (shape.length > 2 && [b, l].some(emitter.isDynamic))) {
    const [left, right, first, second] = Array.from({ length: 4 }, emitter.temporary) as [
      string,
      string,
      string,
      string,
    ]
    emitter.push('Split', [x, emitter.int64([d / 2, d / 2])], [left, right], { axis: -1 })
    emitter.push('Sub', [step(emitter, 'Mul', left, cosine), step(emitter, 'Mul', right, sine)], [first])
    emitter.push('Add', [step(emitter, 'Mul', right, cosine), step(emitter, 'Mul', left, sine)], [second])
    emitter.push('Concat', [first, second], [y], { axis: -1 })
    return
  }
  const operator = (...given: string[]) => emitter.push('RotaryEmbedding', given, [y], {}, 'com.microsoft')
  if (shape.length === 2) {
    operator(x, emitter.int64([0]), cosine, sine)
    return
  }
  const rows = emitter.int64([b * l, d / 2])
  const table = (name: string) => step(emitter, 'Reshape', name, rows)
  const positions = step(
    emitter,
    'Reshape',
    emitter.int64(Array.from({ length: b * l }, (_, i) => i)),
    emitter.int64([b, l]),
  )
  operator(x, positions, table(cosine), table(sine))
}
