/** A small computation with all that a training does, to compare devices by. */

import { floats, ints, type NDArray } from '../base/array.ts'
import { random } from '../base/random.ts'
import { matmul } from '../graph/ops.ts'
import { newModel } from '../models/families.ts'
import { gpt2 } from '../models/gpt2.ts'
import { compile } from '../runtime/compile.ts'
import type { Device } from '../runtime/device.ts'
import { createBackward } from './backward.ts'

/** What a device makes of the probe: the loss and every gradient of a small Hedgehog model, by path. */
export async function probe(device: Device): Promise<Readonly<Record<string, NDArray>>> {
  const attention = { kind: 'linear', map: 'hedgehog-softmax' } as const
  const { config, params } = newModel(
    gpt2.configOf({ layers: 2, heads: 2, width: 32, vocab: 61, maxLength: 32, attention }),
    random(1),
  )
  const rng = random(2)
  const draw = () =>
    ints(
      [2, 32],
      Int32Array.from({ length: 64 }, () => rng.integer(61)),
    )
  const grads = Object.fromEntries(Object.entries(params).map(([path, { shape }]) => [path, floats(shape)]))
  const objective = createBackward(device, config)
  try {
    const batch = { ids: draw(), labels: draw() }
    const loss = await objective.accumulate(params, grads, batch, { tokenWeight: 1 / 64, fresh: true })
    return { loss: floats([], [loss]), ...grads }
  } finally {
    await objective.dispose()
  }
}

/** The largest difference of two results, each array's as a share of its largest value. */
export function difference(
  got: Readonly<Record<string, NDArray>>,
  want: Readonly<Record<string, NDArray>>,
): { readonly largest: number; readonly path: string } {
  let [largest, path] = [0, 'loss']
  for (const [name, { data }] of Object.entries(want)) {
    const found = got[name]!.data
    let [apart, size] = [0, 1e-30]
    for (let i = 0; i < data.length; i++) {
      apart = Math.max(apart, Math.abs(data[i]! - found[i]!))
      size = Math.max(size, Math.abs(data[i]!))
    }
    // Gradients that are zero but for rounding say nothing.
    const share = size < 1e-6 ? 0 : apart / size
    if (Number.isNaN(share) || share > largest) [largest, path] = [share, name]
  }
  return { largest, path }
}

/** Billions of operations a second in a product of square matrices: the median of a few. */
export async function productRate(device: Device, clock: () => number, size = 512): Promise<number> {
  const product = compile(device, ({ a, b }) => ({ c: matmul(a!, b!) }))
  const rng = random(3)
  const matrix = () =>
    floats(
      [size, size],
      Float32Array.from({ length: size * size }, () => rng.normal()),
    )
  const inputs = { a: matrix(), b: matrix() }
  try {
    const times: number[] = []
    for (let i = 0; i < 6; i++) {
      const began = clock()
      await product(inputs)
      times.push(clock() - began)
    }
    // The first run opens the session.
    const middle = times.slice(1).sort((a, b) => a - b)[2]!
    return (2 * size ** 3) / middle / 1e9
  } finally {
    await product.dispose()
  }
}
