/** Maps without parameters: element by element, with random features, and with positions. */

import { add, concat, constantLike, cos, elu, exp, matmul, max, mul, relu, sin, sub, sum } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import { fixed, type MapEntry } from './map.ts'
import { orthogonalFeatures } from './orthogonal.ts'

const elementwise = (activate: (x: Tensor) => Tensor): MapEntry['build'] => {
  return () => ({ ...fixed, features: (d) => d, activate })
}

/** exp of u less its shift: what every map of positive exponentials shares. */
const exponential = {
  activate: (u: Tensor, shift?: Tensor) => exp(shift ? sub(u, shift) : u),
  magnitude: (u: Tensor) => max(u, [-1]),
}

/** The features of Performer for a head dimension d where none are chosen: ⌊d ln d⌋. */
const favorFeatures = (d: number) => Math.max(1, Math.floor(d * Math.log(d)))

/** Positions of cosFormer where none are chosen. */
const defaultPositions = 4096

export const fixedMaps = {
  elu: {
    summary: '1 + elu(x)',
    source: 'arXiv 2006.16236',
    variants: [],
    distilled: false,
    build: elementwise((x) => add(elu(x), 1)),
  },
  relu: {
    summary: 'relu(x)',
    source: 'arXiv 2103.13076',
    variants: [],
    distilled: false,
    build: elementwise(relu),
  },
  'exp-t': {
    summary: 'exp(t x), exp-t:2 for t = 2; stabilised exactly',
    source: 'arXiv 2402.04347',
    argument: 't',
    variants: [],
    distilled: false,
    build: ({ argument: t = 1 }) => ({
      ...fixed,
      features: (d) => d,
      project: (_params, x) => (t === 1 ? x : mul(x, t)),
      ...exponential,
    }),
  },
  performer: {
    summary: 'exp(ω·x − ‖x‖²/2)/√m with x/d^¼ for x, ω orthogonal in blocks, m = ⌊d ln d⌋ of them',
    source: 'arXiv 2009.14794',
    argument: 'features',
    variants: [],
    distilled: false,
    build: ({ argument }) => ({
      ...fixed,
      features: (d) => argument ?? favorFeatures(d),
      project(_params, x) {
        const d = x.shape.at(-1)!
        const m = argument ?? favorFeatures(d)
        const omega = orthogonalFeatures(m, d)
        const small = mul(x, d ** -0.25)
        // ln(1/√m) is part of u, so that φ(q)·φ(k) estimates the kernel itself.
        const norms = add(mul(sum(mul(small, small), [-1]), 0.5), Math.log(m) / 2)
        return sub(
          matmul(
            small,
            constantLike(x, [d, m], (i) => omega[(i % m) * d + Math.floor(i / m)]!),
          ),
          norms,
        )
      },
      ...exponential,
    }),
  },
  cosformer: {
    summary: 'relu(x_i) [cos(πi/2M), sin(πi/2M)] at position i of at most M (cosformer:M)',
    source: 'arXiv 2202.08791',
    argument: 'positions',
    variants: [],
    distilled: false,
    build: ({ argument: positions = defaultPositions }) => ({
      ...fixed,
      positions,
      features: (d) => 2 * d,
      project(_params, x, start) {
        const l = x.shape[2]!
        const own = start && start.shape[2] === l && l > 1
        if (l > positions && !own) throw new RangeError(`cosformer: got ${l} positions, want at most ${positions}`)
        const turn = Math.PI / (2 * positions)
        const steps = () => constantLike(x, [l, 1], (i) => i * turn)
        const angle = own ? mul(start, turn) : start ? add(mul(start, turn), steps()) : steps()
        const y = relu(x)
        return concat([mul(y, cos(angle)), mul(y, sin(angle))], -1)
      },
      activate: (u) => u,
    }),
  },
} as const satisfies Record<string, MapEntry>
