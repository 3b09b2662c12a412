/** A training step of a LoRA adapter beside one of all weights, of a model of GPT-2 small's shape on 1024 tokens. */

import { plans, type StepOptions } from './gpt2Small.ts'
import { inProcesses, median, medianRatio } from './measure.ts'
import type { Bench, Row } from './row.ts'

const module = new URL('gpt2Small.ts', import.meta.url).href

const cases: readonly { readonly title: string; readonly options: Pick<StepOptions, 'lora' | 'saved'> }[] = [
  { title: 'all weights', options: {} },
  { title: 'lora of attention', options: { lora: { rank: 8 } } },
  { title: 'lora of all layers', options: { lora: { rank: 8, targets: 'all-linear' } } },
  { title: 'lora, recomputed', options: { lora: { rank: 8 }, saved: [] } },
]

export const loraBench: Bench = {
  summary: "time and peak memory of a LoRA step beside a step of all weights, of GPT-2 small's shape",
  target: 'none; weights take 0.5 GB, their gradients and moments 1.5 GB that an adapter does without',
  async run({ quick, note }) {
    const sources = cases.map(({ options }) => ({
      ...{ module, name: 'step' },
      options: { ...options, plan: plans['hedgehog-exp'], quick },
    }))
    const measured = (await inProcesses(sources, quick ? 1 : 5, note)).cases
    const [all] = measured
    const beside = (i: number, ratio: number) => (i > 0 ? { peer: cases[0]!.title, ratio } : {})
    return measured.flatMap(({ values, peak }, i): Row[] => [
      { case: cases[i]!.title, value: median(values), unit: 's', ...beside(i, medianRatio(all!.values, values)) },
      { case: `${cases[i]!.title}, memory`, value: peak / 1e9, unit: 'GB', ...beside(i, all!.peak / peak) },
    ])
  },
}
