/** Time per parameter of one AdamW step over 124M parameters: the SIMD kernel beside the loops in JavaScript. */

import { pathToFileURL } from 'node:url'
import type { FloatArray } from '../src/base/array.ts'
import { type AdamWNumbers, type Kernels, plainKernels } from '../src/runtime/kernels.ts'
import { createMemory, floatsFor } from '../src/runtime/memory.ts'

const parameters = 124_439_808
const rounds = 5
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

/** One measured case; `ratio` is the peer's value over this value, so above 1 is faster than the peer. */
export interface Row {
  readonly case: string
  readonly value: number
  readonly unit: string
  readonly peer?: string
  readonly ratio?: number
  readonly target?: number
}

/** Medians of interleaved rounds, after one that touches every page. */
export async function run(): Promise<{ readonly rows: Row[] }> {
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
  const step = (kernels: Kernels) => () => kernels.adamw(p, g, m, v, numbers)
  const norm = (kernels: Kernels) => () => void kernels.sumSquares(g)
  const times = interleaved([step(memory), step(plainKernels), norm(memory), norm(plainKernels)])
  const [simd, loop, simdNorm, loopNorm] = times as [number, number, number, number]
  const common = { unit: 'ns per parameter', peer: 'loop in JavaScript' }
  return {
    rows: [
      { case: 'AdamW step', value: simd, ...common, ratio: loop / simd, target: targetNanoseconds },
      { case: 'gradient norm', value: simdNorm, ...common, ratio: loopNorm / simdNorm },
    ],
  }
}

function interleaved(cases: readonly (() => void)[]): number[] {
  const seen = cases.map((): number[] => [])
  for (let round = 0; round <= rounds; round++) {
    cases.forEach((work, i) => {
      const start = performance.now()
      work()
      if (round > 0) seen[i]!.push(((performance.now() - start) * 1e6) / parameters)
    })
  }
  return seen.map((times) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!)
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) console.table((await run()).rows)
