/** Random heads for each feature map of the table, and the reference's answer for them. */

import { type FeatureMap, featureMap, type MapName } from '../../src/attention/featureMaps.ts'
import type { MapParams } from '../../src/attention/linear.ts'
import { mapParams } from '../../src/attention/mapParams.ts'
import type { NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import type { Tensors } from '../../src/graph/trace.ts'
import { initialise } from '../../src/nn/params.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { matrices } from '../golden.ts'
import * as reference from '../reference.ts'
import { doubles, normals, run } from '../tensors.ts'
import { chosenMaps, mapNames } from './examples.ts'

/** Every map of the table, and what can be chosen of them. */
export const maps = [...mapNames, ...chosenMaps].map((name): [MapName, FeatureMap] => [name, featureMap(name)])

/** Sizes of a case; s, the number of keys, is l where not given. */
export interface Sizes {
  readonly b: number
  readonly h: number
  readonly l: number
  readonly s?: number
  readonly d: number
  readonly e: number
}

export const sizes: Sizes = { b: 2, h: 3, l: 7, d: 5, e: 4 }

/** Names of maps in test/reference.ts, where that has them. */
const inReference: Readonly<Record<string, keyof typeof reference.featureMaps>> = {
  'hedgehog-exp': 'exp',
  'hedgehog-softmax': 'softmax',
  'hedgehog-softmax-joint': 'softmax-joint',
  t2r: 't2r',
  elu: 'elu',
  relu: 'relu',
}

/** The name that golden files and the reference use for a map; undefined for one they do not have. */
export const referenceName = (name: MapName): keyof typeof reference.featureMaps | undefined => inReference[name]

/** q, k, v and the parameters of both maps a little away from where they begin, as inputs of a traced function. */
export function caseOf(map: FeatureMap, seed: number, { b, h, l, s = l, d, e }: Sizes = sizes, scale = 1): Arrays {
  const rng = random(seed)
  return {
    q: normals(rng.split('q'), [b, h, l, d], scale),
    k: normals(rng.split('k'), [b, h, s, d], scale),
    v: normals(rng.split('v'), [b, h, s, e]),
    ...paramsOf(map, seed, h, d),
  }
}

function paramsOf(map: FeatureMap, seed: number, heads: number, headDim: number): Arrays {
  const side = (prefix: string) => {
    const rng = random(seed).split(prefix)
    const initial = Object.entries(initialise(map.params({ heads, headDim }), rng))
    return initial.map(([name, { shape, data }]) => {
      const noise = normals(rng.split(`${name} noise`), shape, 0.2)
      return [
        prefix + name,
        doubles(
          shape,
          Float64Array.from(data, (x, i) => x + noise.data[i]!),
        ),
      ]
    })
  }
  return Object.fromEntries([...side('feature_map_q.'), ...side('feature_map_k.')])
}

/** The maps' parameters among the inputs of {@link caseOf}. */
export const paramsIn = (inputs: Tensors): MapParams => mapParams(inputs)

/** Weights (b h l s) and outputs (b h l e) by the plain float64 loops of the reference. */
export async function expected(
  name: MapName,
  inputs: Arrays,
  { causal, keyMask }: { readonly causal: boolean; readonly keyMask?: NDArray },
): Promise<{ weights: NDArray; y: NDArray }> {
  const [phiQ, phiK] = [await features(name, 'q', inputs), await features(name, 'k', inputs)]
  const v = matrices({ shape: inputs.v!.shape, data: inputs.v!.data as Float64Array })
  const [b, h, l] = inputs.q!.shape as [number, number, number]
  const s = inputs.k!.shape[2]!
  const weights = phiQ.map((queries, i) => {
    const row = Math.floor(i / h)
    const keys = keyMask && Array.from(keyMask.data.subarray(row * s, (row + 1) * s), (seen) => seen === 1)
    return reference.linearWeights(queries, phiK[i]!, { causal, ...(keys && { keys }) })
  })
  return {
    weights: doubles([b, h, l, s], weights),
    y: doubles(
      [b, h, l, v[0]![0]!.length],
      weights.map((rows, i) => reference.attend(rows, v[i]!)),
    ),
  }
}

/** φ of each head's queries or keys: from the reference, or, for a map that it lacks, from the map without any shift. */
async function features(name: MapName, side: 'q' | 'k', inputs: Arrays): Promise<number[][][]> {
  const map = featureMap(name)
  // Fewer queries than keys are the last of them.
  const before = inputs.k!.shape[2]! - inputs.q!.shape[2]!
  const x = inputs[side]!
  const known = referenceName(name)
  if (!known) {
    const { phi } = await run(
      ({ start, ...given }) => ({ phi: map.activate(map.project(paramsIn(given)[side], given[side]!, start)) }),
      { ...inputs, ...(map.positions && { start: doubles([1, 1, 1, 1], [side === 'q' ? before : 0]) }) },
    )
    return matrices(phi as { shape: readonly number[]; data: Float64Array })
  }
  const [weight, bias] = ['weight', 'bias'].map((part) => inputs[`feature_map_${side}.${part}`])
  const heads = x.shape[1]!
  const rowsOf = ({ shape, data }: NDArray) => matrices({ shape, data: data as Float64Array })
  return rowsOf(x).map((rows, i) => {
    const h = i % heads
    const w = weight && (rowsOf(weight)[h] ?? rowsOf(weight)[0]!)
    const b = bias && (rowsOf(bias)[0]![h] ?? rowsOf(bias)[0]![0]!)
    return (w ? reference.project(rows, w, b) : rows).map((u) => reference.featureMaps[known](u))
  })
}
