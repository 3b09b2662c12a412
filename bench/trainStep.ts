/** A training step of GPT-2 small's shape: beside the products it is made of, and beside PyTorch. */

import { configOf, plans } from './gpt2Small.ts'
import { inProcesses, type Measured, median, medianRatio } from './measure.ts'
import { stepOperations, weightOperations } from './products.ts'
import type { Bench, BenchRun, Row } from './row.ts'
import { type TorchStep, torchStep } from './torch.ts'

const targets = { products: 0.75, torch: 1 }
const modelModule = new URL('gpt2Small.ts', import.meta.url).href
const productsModule = new URL('products.ts', import.meta.url).href

type PlanName = keyof typeof plans
type Attention = 'softmax' | 'hedgehog'

export const trainStepBench: Bench = {
  summary: "a training step of GPT-2 small's shape: beside its matrix products, and PyTorch",
  target: `${targets.products} of the rate of its own matrix products; as fast as PyTorch`,
  async run(how) {
    const names = Object.keys(plans) as PlanName[]
    how.note(`preparing ${names.join(', ')}`)
    const steps = names.map((name) => ({
      module: modelModule,
      name: 'step',
      options: { quick: how.quick, plan: plans[name] },
    }))
    const products = { module: productsModule, name: 'products', options: { quick: how.quick, plan: plans.softmax } }
    const peers = torchPeers(how)
    const found = await inProcesses(
      [...steps, products],
      how.quick ? 1 : 3,
      how.note,
      peers.map(({ round }) => round),
    )
    const beside = {
      productTimes: found.cases[names.length]!.values,
      peers: peers.map(({ attention, last }, i) => ({ ...last(), attention, times: found.others[i]! })),
    }
    const rows = names.flatMap((name, i) => rowsOf(name, found.cases[i]!, beside, how))
    return [...rows, rateRow(beside, how)]
  },
}

/** What a step stands beside, round by round. */
interface Beside {
  readonly productTimes: readonly number[]
  readonly peers: readonly (TorchStep & { readonly attention: Attention; readonly times: readonly number[] })[]
}

function rowsOf(name: PlanName, { values, peak }: Measured, beside: Beside, { quick }: BenchRun): Row[] {
  const config = configOf({ quick, plan: plans[name] })
  const factor = stepOperations(config) / weightOperations(config)
  const ideal = beside.productTimes.map((time) => time * factor)
  const step = { case: `${name} step`, value: median(values), unit: 's' }
  const rows: Row[] = [
    {
      ...step,
      peer: 'its products alone',
      ratio: medianRatio(ideal, values),
      ...(!quick && { target: targets.products }),
    },
  ]
  const peer = beside.peers.find(({ attention }) => attention === (name === 'softmax' ? 'softmax' : 'hedgehog'))
  if (peer)
    rows.push({
      ...step,
      peer: `PyTorch ${peer.version}`,
      ratio: medianRatio(peer.times, values),
      target: targets.torch,
    })
  const memory = { case: `${name} peak memory`, value: peak / 1e9, unit: 'GB' }
  rows.push(peer ? { ...memory, peer: `PyTorch ${peer.version}`, ratio: peer.peak / peak } : memory)
  return rows
}

function rateRow({ productTimes }: Beside, { quick }: BenchRun): Row {
  const operations = weightOperations(configOf({ quick, plan: plans.softmax }))
  return { case: 'matrix products of weights', value: operations / median(productTimes) / 1e9, unit: 'GFLOP/s' }
}

/** PyTorch's cases; each round is a process of its own, that takes the form found fastest in the first. */
function torchPeers({ quick, note }: BenchRun) {
  const python = process.env.HEDGEHOG_PYTHON
  if (quick || !python) {
    note(
      quick ? 'PyTorch is left out in quick runs' : 'PyTorch is left out: HEDGEHOG_PYTHON names no Python with torch',
    )
    return []
  }
  return (['hedgehog', 'softmax'] as const).map((attention) => {
    let latest: TorchStep | undefined
    return {
      attention,
      async round() {
        latest = await torchStep(python, attention, latest?.form)
        return latest.seconds
      },
      last: () => latest!,
    }
  })
}
