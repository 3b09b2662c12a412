/** The table of feature maps φ of linear attention: what each computes, its parameters, size and source. */

import {
  abs,
  add,
  concat,
  elu,
  exp,
  matmul,
  max,
  maximum,
  mul,
  neg,
  relu,
  reshape,
  softmax,
  sub,
} from '../graph/ops.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { Tensors } from '../graph/trace.ts'
import type { ParamSpecs } from '../nn/params.ts'

/** Sizes that a map's parameters depend on. */
export interface MapSizes {
  readonly heads: number
  readonly headDim: number
}

/**
 * A feature map (b h l d) -> (b h l f). It works in two steps so that exponentials can be kept in range exactly:
 * `project` gives u, `activate` gives φ · e^(−shift), and `magnitude` the shift that brings the largest feature to 1.
 */
export interface FeatureMap {
  /** One line for help and docs. */
  readonly summary: string
  readonly source: string
  /** The number of features f for a head dimension d. */
  features(headDim: number): number
  /** Trainable parameters of the map, one set for queries and one for keys; none for a fixed map. */
  params(sizes: MapSizes): ParamSpecs
  project(params: Tensors, x: Tensor): Tensor
  /** @param shift broadcastable to (b h l 1); only maps with a `magnitude` are given one. */
  activate(u: Tensor, shift?: Tensor): Tensor
  /** log of the largest feature, (b h l r) -> (b h l 1). */
  readonly magnitude?: (u: Tensor) => Tensor
}

const perHead = ({ heads, headDim }: MapSizes): ParamSpecs => ({
  weight: { shape: [heads, headDim, headDim], initial: 'identity' },
})

/** u = x W with one W (d r) per head; and b where there is one. */
function projectPerHead(params: Tensors, x: Tensor): Tensor {
  const u = matmul(x, params.weight!)
  if (!params.bias) return u
  const [heads, width] = params.bias.shape
  return add(u, reshape(params.bias, [heads!, 1, width!]))
}

const fixed = {
  params: (): ParamSpecs => ({}),
  project: (_params: Tensors, x: Tensor) => x,
}

/** Below this a softmax feature is raised, as LoLCATs does. */
const softmaxFloor = 1e-12

export const featureMaps = {
  'hedgehog-exp': {
    summary: '[exp(u), exp(−u)], u = x W per head; stabilised exactly',
    source: 'arXiv 2402.04347',
    features: (d) => 2 * d,
    params: perHead,
    project: projectPerHead,
    activate: (u, shift) => {
      const low = shift ? neg(shift) : 0
      return exp(concat([add(u, low), sub(low, u)], -1))
    },
    magnitude: (u) => max(abs(u), [-1]),
  },
  'hedgehog-softmax': {
    summary: '[softmax(u), softmax(−u)] over the features, u = x W per head',
    source: 'LoLCATs, arXiv 2410.10254',
    features: (d) => 2 * d,
    params: perHead,
    project: projectPerHead,
    activate: (u) => maximum(concat([softmax(u), softmax(neg(u))], -1), softmaxFloor),
  },
  'hedgehog-softmax-joint': {
    summary: 'one softmax over [2u, −2u], u = x W + b, W shared by the heads of a layer',
    source: 'flash-linear-attention',
    features: (d) => 2 * d,
    params: ({ headDim }) => ({
      weight: { shape: [headDim, headDim], initial: 'identity' },
      bias: { shape: [1, headDim], initial: 'zeros' },
    }),
    project: projectPerHead,
    activate: (u) => softmax(mul(concat([u, neg(u)], -1), 2)),
  },
  t2r: {
    summary: 'relu(x W + b), learned without distillation',
    source: 'arXiv 2103.13076',
    features: (d) => d,
    params: ({ heads, headDim }) => ({
      weight: { shape: [heads, headDim, headDim], initial: 'identity' },
      bias: { shape: [heads, headDim], initial: 'zeros' },
    }),
    project: projectPerHead,
    activate: relu,
  },
  elu: {
    ...fixed,
    summary: '1 + elu(x)',
    source: 'arXiv 2006.16236',
    features: (d) => d,
    activate: (u) => add(elu(u), 1),
  },
  relu: {
    ...fixed,
    summary: 'relu(x)',
    source: 'arXiv 2103.13076',
    features: (d) => d,
    activate: relu,
  },
} as const satisfies Record<string, FeatureMap>

/** A name in the table of feature maps. */
export type MapName = keyof typeof featureMaps

/** Short names: the variant that a plain name means. */
export const mapAliases: Readonly<Record<string, MapName>> = { hedgehog: 'hedgehog-exp' }

/** The map that a name or a short name means. @throws RangeError naming the known ones. */
export function mapNamed(name: string): MapName {
  const full = Object.hasOwn(mapAliases, name) ? mapAliases[name]! : name
  featureMap(full)
  return full as MapName
}

/** The record of a map. @throws RangeError at `where`, naming the known maps. */
export function featureMap(name: string, where = 'featureMap'): FeatureMap {
  const map = Object.hasOwn(featureMaps, name) ? featureMaps[name as MapName] : undefined
  if (map) return map
  throw new RangeError(
    `${where}: got feature map ${name}, want one of ${[...Object.keys(mapAliases), ...Object.keys(featureMaps)].join(', ')}`,
  )
}
