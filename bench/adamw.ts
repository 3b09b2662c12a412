/** Time per parameter of one AdamW step over 124M parameters: the SIMD kernel beside the loops in JavaScript. */

import type { FloatArray } from '../src/base/array.ts'
import { type AdamWNumbers, type Kernels, plainKernels } from '../src/runtime/kernels.ts'
import { createMemory, floatsFor } from '../src/runtime/memory.ts'
import { interleaved, median, medianRatio, seconds } from './measure.ts'
import type { Bench, Row } from './row.ts'

const targetNanoseconds = 1.5

const numbers: AdamWNumbers = {
  learningRate: 6e-4,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  correction1: 1 - 0.9 ** 10,
  correction2: 1 - 0.95 ** 10,
  gradScale: 0.5,
}

export const adamwBench: Bench = {
  summary: 'AdamW and the norm of gradients on 124M parameters: SIMD kernels beside loops',
  target: `at most ${targetNanoseconds} ns per parameter`,
  async run({ quick }) {
    const parameters = quick ? 1_000_003 : 124_439_808
    const [p, g, m, v, memory] = arrays(parameters)
    const step = (kernels: Kernels) => () => seconds(() => kernels.adamw(p, g, m, v, numbers))
    const norm = (kernels: Kernels) => () => seconds(() => kernels.sumSquares(g))
    const found = await interleaved([step(memory), step(plainKernels), norm(memory), norm(plainKernels)], quick ? 1 : 5)
    const [simd, loop, simdNorm, loopNorm] = found as [number[], number[], number[], number[]]
    const row = (name: string, times: number[], peer: number[]): Row => ({
      case: name,
      value: (median(times) * 1e9) / parameters,
      unit: 'ns/param',
      peer: 'loop in JavaScript',
      ratio: medianRatio(peer, times),
    })
    const stepRow = row('AdamW step', simd, loop)
    const target = { case: 'AdamW step', value: stepRow.value, unit: stepRow.unit, target: targetNanoseconds }
    return [...(quick ? [] : [target]), stepRow, row('gradient norm', simdNorm, loopNorm)]
  },
}

/** Parameters, gradients and moments in one memory, every page of which is touched. */
function arrays(parameters: number) {
  const shape = [parameters]
  const memory = createMemory(floatsFor([shape, shape, shape, shape]))
  const [p, g, m, v] = [1, 2, 3, 4].map(() => memory.allocate(shape)) as [
    FloatArray,
    FloatArray,
    FloatArray,
    FloatArray,
  ]
  for (let i = 0; i < parameters; i++) {
    p.data[i] = Math.sin(i)
    g.data[i] = Math.cos(i)
  }
  return [p, g, m, v, memory] as const
}
