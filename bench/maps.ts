/** Every feature map and kind of attention beside softmax: time and peak memory of one layer, and the hybrid's tokens. */

import { featureMaps } from '../src/attention/featureMaps.ts'
import { planNamed } from '../src/attention/plan.ts'
import { ints } from '../src/base/array.ts'
import { random } from '../src/base/random.ts'
import { createGenerator } from '../src/generate/state.ts'
import { newModel } from '../src/models/families.ts'
import { openDevice } from '../src/node/device.ts'
import { configOf } from './gpt2Small.ts'
import { type Cases, inProcesses, type Measured, median, medianRatio, seconds } from './measure.ts'
import type { Bench, Row } from './row.ts'

const module = import.meta.url
const decodeTarget = 1.3

/** What is measured beside the table of maps. */
const others = ['hedgehog+half', 'hybrid:64', 'window:64:4', 'top-k:64'] as const
const names = [...Object.keys(featureMaps), ...others]

/** Where a layer's attention is measured. */
const layer = new URL('attention.ts', import.meta.url).href

/** Tokens of a round. */
const tokens = 20

export const cases = {
  /** Tokens of GPT-2 small, one after the other, after 128 others. */
  async decode({ name, quick }: { readonly name: string; readonly quick: boolean }) {
    const model = newModel(configOf({ quick, plan: planNamed(name) }), random(1))
    const generator = createGenerator(await openDevice(), model)
    const ids = (count: number) => ints([1, count], new Int32Array(count).fill(7))
    const prompt = (await generator.advance(generator.start(), ids(quick ? 32 : 128))).state
    return async () => {
      let state = generator.fork(prompt)
      return seconds(async () => {
        for (let i = 0; i < tokens; i++) ({ state } = await generator.advance(state, ids(1)))
      })
    }
  },
} satisfies Cases

const tokenPart = 'token'

/** What is measured of one layer. */
const passes = [1024, 8192].flatMap((length) => [false, true].map((backward) => ({ length, backward })))

export const mapsBench: Bench = {
  summary: 'every map and kind of attention beside softmax: one layer at 1k and 8k tokens, and a decoded token',
  target: `a token of GPT-2 small with the hybrid costs at most ${decodeTarget} times one with its map alone`,
  parts: [...passes.map(passName), tokenPart],
  async run({ quick, note, part }) {
    const wanted = passes.filter((pass) => part === undefined || passName(pass) === part)
    const rows: Row[] = []
    for (const { length, backward } of wanted) {
      if (!quick || length === passes[0]!.length)
        rows.push(...(await passRows(quick ? 128 : length, backward, quick, note)))
    }
    return part === undefined || part === tokenPart ? [...rows, ...(await decodeRows(quick, note))] : rows
  },
}

function passName({ length, backward }: (typeof passes)[number]): string {
  return `${backward ? 'fwd+bwd' : 'fwd'} ${length >= 1024 ? `${length / 1024}k` : length}`
}

async function passRows(length: number, backward: boolean, quick: boolean, note: (line: string) => void) {
  const all = quick ? ['elu', 'hybrid:64'] : names
  const rows: Row[] = []
  // Softmax stands in every batch of cases, so that each ratio is of one run.
  for (let first = 0; first < all.length; first += atOnce) {
    const batch = ['softmax', ...all.slice(first, first + atOnce)]
    note(`${length} tokens, ${backward ? 'forward and backward' : 'forward'}: ${batch.join(', ')}`)
    const sources = batch.map((plan) => ({ module: layer, name: 'attention', options: { plan, length, backward } }))
    const found = await inProcesses(sources, quick ? 1 : 3)
    rows.push(...layerRows(batch, found.cases, { length, backward }, first === 0))
  }
  return rows
}

/** Cases that live side by side: each holds its memory until the last is measured. */
const atOnce = 5

function layerRows(
  batch: readonly string[],
  found: readonly Measured[],
  pass: (typeof passes)[number],
  first: boolean,
): Row[] {
  const [softmax] = found
  return batch.flatMap((name, i): Row[] => {
    if (i === 0 && !first) return []
    const title = `${name} ${passName(pass)}`
    const { values, peak } = found[i]!
    const beside = (ratio: number) => (i === 0 ? {} : { peer: 'softmax', ratio })
    return [
      { case: title, value: median(values) * 1000, unit: 'ms', ...beside(medianRatio(softmax!.values, values)) },
      { case: `${title} peak`, value: peak / 1e9, unit: 'GB', ...beside(softmax!.peak / peak) },
    ]
  })
}

async function decodeRows(quick: boolean, note: (line: string) => void): Promise<Row[]> {
  const plans = ['hedgehog-softmax', 'hybrid:64/hedgehog-softmax', 'hedgehog-exp', 'hybrid:64/hedgehog-exp']
  note(`a decoded token: ${plans.join(', ')}`)
  const found = await inProcesses(
    plans.map((name) => ({ module, name: 'decode', options: { name, quick } })),
    quick ? 1 : 7,
  )
  return plans.map((plan, i): Row => {
    const { values } = found.cases[i]!
    const row = { case: `${plan} token`, value: (median(values) * 1e3) / tokens, unit: 'ms' }
    if (planNamed(plan).kind !== 'hybrid') return row
    const linear = found.cases[i - 1]!.values
    return { ...row, peer: 'its map alone', ratio: medianRatio(linear, values), target: 1 / decodeTarget }
  })
}
