/** Maps whose kernel is a polynomial of degree 2 in q·k; products of pairs are kept once (packed). */

import { add, concat, filled, layerNorm, matmul, mul, slice, transpose } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import { fixed, type MapEntry } from './map.ts'

const pairs = (d: number) => (d * (d + 1)) / 2

/**
 * ψ with ψ(q)·ψ(k) = (q·k)²: (… d) -> (… d(d+1)/2). x times itself rotated by j, for each j up to half of d, has every
 * unordered pair once; pairs of different elements count √2.
 */
function packedSquares(x: Tensor): Tensor {
  const d = x.shape.at(-1)!
  const axis = x.shape.length - 1
  const twice = concat([x, x], -1)
  const parts = Array.from({ length: Math.floor(d / 2) + 1 }, (_, j) => {
    // Rotated by exactly half, each pair would come twice.
    const count = j > 0 && 2 * j === d ? d / 2 : d
    const own = count === d ? x : slice(x, axis, 0, count)
    const product = mul(own, slice(twice, axis, j, j + count))
    return j === 0 ? product : mul(product, Math.SQRT2)
  })
  return parts.length === 1 ? parts[0]! : concat(parts, -1)
}

const normEpsilon = 1e-5

export const polynomialMaps = {
  taylor: {
    summary: '[1, x, x⊗x/√2] with x/d^¼ for x, packed: kernel 1 + s + s²/2 of s = q·k/√d',
    source: 'arXiv 2402.04347, 2402.18668',
    variants: [],
    distilled: false,
    build: () => ({
      ...fixed,
      features: (d) => 1 + d + pairs(d),
      project: (_params, x) => mul(x, x.shape.at(-1)! ** -0.25),
      activate: (u) => concat([filled(u, [...u.shape.slice(0, -1), 1], 1), u, packedSquares(mul(u, 2 ** -0.25))], -1),
      kernel(q, k) {
        const s = matmul(q, transpose(k))
        return add(mul(s, add(mul(s, 0.5), 1)), 1)
      },
    }),
  },
  rebased: {
    summary: 'y⊗y/√d, packed, of y = γ ⊙ norm(x) + β: kernel (y·y′)²/d',
    source: 'arXiv 2402.10644',
    variants: ['tied'],
    distilled: false,
    build: () => ({
      features: pairs,
      params: ({ headDim }) => ({
        gamma: { shape: [headDim], initial: 'ones' },
        beta: { shape: [headDim], initial: 'zeros' },
      }),
      project: ({ gamma, beta }, x) => mul(layerNorm(x, gamma!, beta!, normEpsilon), x.shape.at(-1)! ** -0.25),
      activate: packedSquares,
      kernel(q, k) {
        const s = matmul(q, transpose(k))
        return mul(s, s)
      },
    }),
  },
} as const satisfies Record<string, MapEntry>
