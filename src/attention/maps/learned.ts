/** Maps with a trainable projection per head: Hedgehog in its variants, and T2R. */

import { abs, add, concat, exp, matmul, max, maximum, mul, neg, relu, reshape, softmax, sub } from '../../graph/ops.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { Tensors } from '../../graph/trace.ts'
import type { FeatureMap, MapChoice, MapEntry, MapSizes } from './map.ts'
import { fixed } from './map.ts'

/** u = x W with one W (d r) per head; and b where there is one. */
function projectPerHead(params: Tensors, x: Tensor): Tensor {
  const u = matmul(x, params.weight!)
  if (!params.bias) return u
  const [heads, width] = params.bias.shape
  return add(u, reshape(params.bias, [heads!, 1, width!]))
}

/** A projection per head to `width` features; a unit matrix to begin with. */
const perHead = (width: (headDim: number) => number, bias: boolean): Pick<FeatureMap, 'params' | 'project'> => ({
  params: ({ heads, headDim }: MapSizes) => ({
    weight: { shape: [heads, headDim, width(headDim)], initial: 'identity' },
    ...(bias && { bias: { shape: [heads, width(headDim)], initial: 'zeros' } }),
  }),
  project: projectPerHead,
})

/** [φ(u), φ(−u)] of a projection to d columns, or to half of them. */
const mirrored = ({ half, bias }: MapChoice): Pick<FeatureMap, 'params' | 'project' | 'features'> => {
  const width = (d: number) => (half ? Math.max(1, Math.floor(d / 2)) : d)
  return { features: (d) => 2 * width(d), ...perHead(width, bias) }
}

const exponential: Pick<FeatureMap, 'activate' | 'magnitude'> = {
  activate: (u, shift) => {
    const low = shift ? neg(shift) : 0
    return exp(concat([add(u, low), sub(low, u)], -1))
  },
  magnitude: (u) => max(abs(u), [-1]),
}

/** Below this a softmax feature is raised, as LoLCATs does. */
const softmaxFloor = 1e-12

const allVariants = ['half', 'bias', 'tied'] as const

const t2r: Omit<MapEntry, 'summary' | 'distilled'> = {
  source: 'arXiv 2103.13076',
  argument: 'features',
  variants: ['tied'],
  build: ({ argument }) => ({
    features: (d) => argument ?? d,
    ...perHead((d) => argument ?? d, true),
    activate: relu,
  }),
}

export const learnedMaps = {
  'hedgehog-exp': {
    summary: '[exp(u), exp(−u)], u = x W per head; stabilised exactly',
    source: 'arXiv 2402.04347',
    variants: allVariants,
    distilled: true,
    build: (choice) => ({ ...mirrored(choice), ...exponential }),
  },
  'hedgehog-softmax': {
    summary: '[softmax(u), softmax(−u)] over the features, u = x W per head',
    source: 'LoLCATs, arXiv 2410.10254',
    variants: allVariants,
    distilled: true,
    build: (choice) => ({
      ...mirrored(choice),
      activate: (u) => maximum(concat([softmax(u), softmax(neg(u))], -1), softmaxFloor),
    }),
  },
  'hedgehog-softmax-joint': {
    summary: 'one softmax over [2u, −2u], u = x W + b, W shared by the heads of a layer',
    source: 'flash-linear-attention',
    variants: ['tied'],
    distilled: true,
    build: () => ({
      features: (d) => 2 * d,
      params: ({ headDim }) => ({
        weight: { shape: [headDim, headDim], initial: 'identity' },
        bias: { shape: [1, headDim], initial: 'zeros' },
      }),
      project: projectPerHead,
      activate: (u) => softmax(mul(concat([u, neg(u)], -1), 2)),
    }),
  },
  'hedgehog-untrained': {
    summary: '[exp(x), exp(−x)]: Hedgehog where it begins, never trained',
    source: 'arXiv 2402.04347',
    variants: [],
    distilled: false,
    build: () => ({ ...fixed, features: (d) => 2 * d, ...exponential }),
  },
  t2r: { ...t2r, summary: 'relu(x W + b), learned without distillation', distilled: false },
  't2r-hh': { ...t2r, summary: 'relu(x W + b), distilled as Hedgehog is', distilled: true },
} as const satisfies Record<string, MapEntry>
