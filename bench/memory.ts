/** Peak memory of whole processes that train, distil or score a model of GPT-2 small's shape on 1024 tokens. */

import { plans, type StepOptions } from './gpt2Small.ts'
import { inProcesses } from './measure.ts'
import type { Bench, Row } from './row.ts'

const module = new URL('gpt2Small.ts', import.meta.url).href

const cases: readonly {
  readonly title: string
  readonly name: string
  readonly options: Omit<StepOptions, 'quick'>
}[] = [
  { title: 'hedgehog step', name: 'step', options: { plan: plans['hedgehog-exp'] } },
  { title: 'hedgehog step, recomputed', name: 'step', options: { plan: plans['hedgehog-exp'], saved: [] } },
  { title: 'softmax step', name: 'step', options: { plan: plans.softmax } },
  { title: 'softmax step, recomputed', name: 'step', options: { plan: plans.softmax, saved: [] } },
  { title: 'distillation step', name: 'distillation', options: { plan: plans['hedgehog-exp'] } },
  { title: 'hedgehog forward', name: 'forward', options: { plan: plans['hedgehog-exp'] } },
  { title: 'softmax forward', name: 'forward', options: { plan: plans.softmax } },
]

export const memoryBench: Bench = {
  summary: "peak memory of a step, a distillation step and a forward pass of GPT-2 small's shape",
  target: 'none; parameters, gradients and moments take 2 GB of a step',
  async run({ quick, note }) {
    const rows: Row[] = []
    let first: number | undefined
    for (const { title, name, options } of cases) {
      note(title)
      // One after the other, so that a machine needs the memory of one only.
      const source = { module, name, options: { ...options, quick } }
      const { peak } = (await inProcesses([source], quick ? 1 : 3)).cases[0]!
      rows.push({
        case: title,
        value: peak / 1e9,
        unit: 'GB',
        ...(first !== undefined && { peer: cases[0]!.title, ratio: first / peak }),
      })
      first ??= peak
    }
    return rows
  },
}
