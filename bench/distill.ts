/** Stage 1 on SmolLM2-135M's shape: tokens a second, beside what its operations would take at the rate of its own products. */

import type { DistillLoss } from '../src/attention/distillation.ts'
import { isMapPath } from '../src/attention/mapParams.ts'
import { ints } from '../src/base/array.ts'
import { random } from '../src/base/random.ts'
import { createDistillation } from '../src/convert/distill.ts'
import { layerImitation } from '../src/convert/layerImitation.ts'
import { sharedInputs } from '../src/execute/blocks.ts'
import { matmul, transpose } from '../src/graph/ops.ts'
import { trace } from '../src/graph/trace.ts'
import { newModel } from '../src/models/families.ts'
import { llama } from '../src/models/llama.ts'
import type { ModelConfig } from '../src/models/model.ts'
import { prefixed } from '../src/nn/params.ts'
import { openDevice } from '../src/node/device.ts'
import { compile } from '../src/runtime/compile.ts'
import { adamw } from '../src/train/optimizers.ts'
import { train } from '../src/train/train.ts'
import { type Cases, inProcesses, median, medianRatio, seconds } from './measure.ts'
import { filled, float, productOperations } from './products.ts'
import type { Bench, Row } from './row.ts'

interface DistillOptions {
  readonly quick: boolean
  readonly map: 'hedgehog-exp' | 'hedgehog-softmax'
  readonly loss: DistillLoss
}

/** Tokens of a step. */
const tokens = (quick: boolean): number => (quick ? 128 : 512)

/** SmolLM2-135M with linear attention, or the smallest model that has all of its parts. */
function configOf({ quick, map }: Pick<DistillOptions, 'quick' | 'map'>): ModelConfig {
  const smollm2 = { layers: 30, heads: 9, keyHeads: 3, width: 576, inner: 1536, vocab: 49_152, maxLength: 8192 }
  const least = { layers: 2, heads: 4, keyHeads: 2, width: 32, vocab: 997, maxLength: 128 }
  return llama.configOf({ ...(quick ? least : smollm2), attention: { kind: 'linear', map } })
}

export const cases = {
  /** Seconds of a step: the teacher's blocks, the maps' losses and gradients, AdamW. */
  async step({ loss, ...options }: DistillOptions) {
    const { config, params } = newModel(configOf(options), random(1))
    const length = tokens(options.quick)
    const rng = random(2)
    const draw = () =>
      ints(
        [1, length],
        Int32Array.from({ length }, () => rng.integer(config.vocab)),
      )
    const job = train(createDistillation(await openDevice(), config, { loss }), params, {
      phase: 'bench',
      steps: Number.MAX_SAFE_INTEGER,
      batches: { next: () => ({ ids: draw(), labels: draw() }), state: () => undefined, restore: () => {} },
      optimizer: adamw({ weightDecay: 0 }),
      learningRate: 1e-2,
      trains: isMapPath,
      clock: () => performance.now() / 1000,
    })
    return () => seconds(() => job.next())
  },
  /** Seconds of a step's operations at the rate of the products with the weights of a block, as the block has them. */
  async products({ loss, ...options }: DistillOptions) {
    const config = configOf(options)
    const length = tokens(options.quick)
    const device = await openDevice()
    const x = filled([length, config.width])
    const weights = weightsOf(config).map(([outputs, inputs]) => ({
      run: compile(device, (given) => ({ y: matmul(given.x!, transpose(given.w!)) })),
      given: { x: inputs === config.width ? x : filled([length, inputs]), w: filled([outputs, inputs]) },
      operations: 2 * length * inputs * outputs,
    }))
    const own = weights.reduce((total, { operations }) => total + operations, 0)
    const wanted = stepOperations(config, length, loss)
    return async () => {
      // As many as a step has, for the same length of a round.
      const took = await seconds(async () => {
        for (let layer = 0; layer < config.layers; layer++) for (const { run, given } of weights) await run(given)
      })
      return (took / config.layers) * (wanted / own)
    }
  },
} satisfies Cases

/** The weight matrices of a block, (outputs inputs). */
function weightsOf(config: ModelConfig): [outputs: number, inputs: number][] {
  const shapes = Object.values(llama.blockParams(config, 0)).map(({ shape }) => shape)
  return shapes.flatMap(([outputs, inputs, ...rest]): [number, number][] =>
    outputs !== undefined && inputs !== undefined && rest.length === 0 ? [[outputs, inputs]] : [],
  )
}

/** Floating-point operations of the products of all layers' graphs, as they are traced. */
function stepOperations(config: ModelConfig, length: number, loss: DistillLoss): number {
  const specs = llama.blockParams(config, 0)
  const trained = Object.keys(specs).filter(isMapPath)
  const shared = sharedInputs(config)({ ids: ints([1, length], new Int32Array(length)) })
  const inputs = {
    x: float([1, length, config.width]),
    factor: float([]),
    ...Object.fromEntries(Object.entries(shared).map(([name, { shape }]) => [name, float(shape)])),
    ...prefixed('p.', Object.fromEntries(Object.entries(specs).map(([path, { shape }]) => [path, float(shape)]))),
  }
  return config.layers * productOperations(trace(layerImitation(config, 0, loss, trained), inputs))
}

const variants: readonly Omit<DistillOptions, 'quick'>[] = [
  { map: 'hedgehog-exp', loss: 'both' },
  { map: 'hedgehog-exp', loss: 'cross-entropy' },
  { map: 'hedgehog-softmax', loss: 'mse' },
]

/** The least share of the rate of its products. */
const leastShare = 0.6

export const distillBench: Bench = {
  summary: "distillation of SmolLM2-135M's shape: tokens a second, as a share of what its products alone would allow",
  target: `at least ${leastShare} of what its floating-point operations take at the rate of the products with its weights`,
  async run({ quick, note }) {
    const module = new URL('distill.ts', import.meta.url).href
    const sources = variants.flatMap((variant) =>
      ['step', 'products'].map((name) => ({ module, name, options: { ...variant, quick } })),
    )
    const measured = (await inProcesses(sources, quick ? 1 : 5, note)).cases
    return variants.flatMap(({ map, loss }, i): Row[] => {
      const [step, products] = [measured[2 * i]!, measured[2 * i + 1]!]
      const rate = tokens(quick) / median(step.values)
      const share = medianRatio(products.values, step.values)
      return [
        {
          ...{ case: `${map}, ${loss}`, value: rate, unit: 'tokens/s', peer: 'its products alone', ratio: share },
          ...(!quick && { target: leastShare }),
        },
        { case: `${map}, ${loss}: memory`, value: step.peak / 1e9, unit: 'GB' },
      ]
    })
  },
}
