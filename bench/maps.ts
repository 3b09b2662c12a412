/** Every feature map and kind of attention beside softmax: time and peak memory of one layer, and the hybrid's tokens. */

import { featureMaps } from '../src/attention/featureMaps.ts'
import { planNamed } from '../src/attention/plan.ts'
import { ints } from '../src/base/array.ts'
import { random } from '../src/base/random.ts'
import { createGenerator } from '../src/generate/state.ts'
import { newModel } from '../src/models/families.ts'
import { openDevice } from '../src/node/device.ts'
import type { Options } from './attention.ts'
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

/** What several matrices of length² for each head at once keep from being measured at 8k. */
const tooLarge = 'top-k:64'

/** Tokens of a round: what waits is taken in as often as in a long text. */
const tokens = 32

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
  summary:
    'every map and kind of attention beside softmax: one layer on one thread at 1k and 8k tokens, and a decoded token',
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
  const isLong = length > passes[0]!.length
  const all = ['softmax', ...(quick ? ['elu', 'hybrid:64'] : names.filter((name) => !isLong || name !== tooLarge))]
  if (isLong) note(`${tooLarge} is left out: each of its matrices of length² has ${gigabytes(12 * length ** 2 * 4)} GB`)
  const found: Measured[] = []
  // Cases that run side by side hold their memory, up to many GB at 8k, until the last of them is measured.
  const atOnce = isLong ? 1 : 6
  for (let first = 0; first < all.length; first += atOnce) {
    const batch = all.slice(first, first + atOnce)
    note(`${passName({ length, backward })}: ${batch.join(', ')}`)
    const options = batch.map((plan): Options => ({ plan, length, backward, oneThread: true }))
    const sources = options.map((one) => ({ module: layer, name: 'attention', options: one }))
    found.push(...(await inProcesses(sources, quick || isLong ? 1 : 3)).cases)
  }
  return layerRows(all, found, passName({ length, backward }))
}

/** Times are processor time, so that cases that were not measured side by side can be compared. */
function layerRows(all: readonly string[], found: readonly Measured[], pass: string): Row[] {
  const [softmax] = found.map(({ values }) => median(values))
  return all.flatMap((name, i): Row[] => {
    const { values, peak } = found[i]!
    const beside = (ratio: number) => (i === 0 ? {} : { peer: 'softmax', ratio })
    return [
      { case: `${name} ${pass}`, value: median(values) * 1000, unit: 'ms', ...beside(softmax! / median(values)) },
      { case: `${name} ${pass} peak`, value: peak / 1e9, unit: 'GB', ...beside(found[0]!.peak / peak) },
    ]
  })
}

const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1)

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
