/** Steps of a model whose blocks are read from its files, beside the same with all of it in memory. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isMapPath } from '../src/attention/mapParams.ts'
import { floats, ints, sizeOf } from '../src/base/array.ts'
import { random } from '../src/base/random.ts'
import { createDistillation } from '../src/convert/distill.ts'
import { linearize } from '../src/convert/linearize.ts'
import { distillDefaults } from '../src/convert/stages.ts'
import { createBackward } from '../src/execute/backward.ts'
import type { BlockSource } from '../src/execute/blocks.ts'
import type { Objective } from '../src/execute/objective.ts'
import { paramSpecs } from '../src/models/families.ts'
import { type ModelFiles, openModelFiles, readOuter, readParams, saveFrom } from '../src/models/files.ts'
import { llama } from '../src/models/llama.ts'
import type { Model, ModelConfig } from '../src/models/model.ts'
import { openDevice } from '../src/node/device.ts'
import { folderSink, folderSource } from '../src/node/files.ts'
import { streamedBlocks } from '../src/node/streamedBlocks.ts'
import type { Device } from '../src/runtime/device.ts'
import { adapterTrains, addLora } from '../src/train/lora.ts'
import { adamw } from '../src/train/optimizers.ts'
import { train } from '../src/train/train.ts'
import { interleaved, median, medianRatio, seconds } from './measure.ts'
import type { Bench, Row } from './row.ts'

/** The least share of the speed in memory, and the most of its time that a streamed run may wait for weights. */
const targets = { speed: 0.75, waited: 0.1 }

/** Of Llama's shape, 0.4 GB in float16, 0.9 GB in memory: a block's reading and computing both grow with its weights. */
const sizes = { layers: 12, heads: 8, width: 1024, inner: 2752, vocab: 32_000, maxLength: 512 }
const least = { layers: 4, heads: 2, width: 32, inner: 64, vocab: 97, maxLength: 32 }

/** A step of each kind: what learns, by which objective, from how many tokens. */
interface Kind {
  readonly batch: number
  readonly length: number
  learner(model: Model): Model
  trains(config: ModelConfig): (path: string) => boolean
  objective(device: Device, config: ModelConfig, blocks?: BlockSource): Objective
}

/** As `hedgehog distill` and `finetune --lora` run them, in memory and within one. */
const kinds: Readonly<Record<string, Kind>> = {
  distillation: {
    ...{ batch: 4, length: 256 },
    learner: (model) => linearize(model, 'hedgehog', random(1)),
    trains: () => isMapPath,
    objective: (device, config, blocks) =>
      createDistillation(device, config, { loss: distillDefaults.loss, apart: true, ...(blocks && { blocks }) }),
  },
  LoRA: {
    ...{ batch: 1, length: 512 },
    learner: (model) => addLora(linearize(model, 'hedgehog', random(1)), { rank: 8 }, random(2)),
    trains: adapterTrains,
    objective: (device, config, blocks) => createBackward(device, config, blocks && { blocks }),
  },
}

export const streamedBench: Bench = {
  summary:
    'distillation and LoRA steps of a model whose blocks are read as they are needed, beside all of it in memory',
  target: `at least ${targets.speed} of the speed in memory, at most ${targets.waited} of the time spent waiting for weights`,
  parts: Object.keys(kinds),
  async run({ quick, part, note }) {
    const folder = await mkdtemp(join(tmpdir(), 'hedgehog-streamed-'))
    try {
      note('writing a model')
      await writeModel(folder, llama.configOf(quick ? least : sizes))
      const rows: Row[] = []
      for (const name of part ? [part] : Object.keys(kinds))
        rows.push(...(await compared(name, folder, { quick, note })))
      return rows
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
}

async function compared(
  name: string,
  folder: string,
  { quick, note }: { readonly quick: boolean; readonly note: (line: string) => void },
): Promise<Row[]> {
  const device = await openDevice()
  const files = await openModelFiles(folderSource(folder))
  const { config } = files
  const blocks = streamedBlocks(folder, config)
  const inMemory = await stepsOf(name, device, quick, { config, params: await readParams(files) })
  const streamed = await stepsOf(name, device, quick, { config, params: await readOuter(files) }, blocks)
  const waited: number[] = []
  const streamedRound = async () => {
    const before = blocks.reading().waited
    const took = await streamed.round()
    waited.push((blocks.reading().waited - before) / took)
    return took
  }
  try {
    const rounds = await interleaved([inMemory.round, streamedRound], quick ? 1 : 3, (line) => note(`${name}: ${line}`))
    const [fast, slow] = rounds as [number[], number[]]
    const limit = (target: number) => (quick ? {} : { target })
    const rate = { value: inMemory.tokens / median(slow), unit: 'tokens/s', peer: 'in memory' }
    return [
      { case: `${name} in memory`, value: inMemory.tokens / median(fast), unit: 'tokens/s' },
      { case: `${name} streamed`, ...rate, ratio: medianRatio(fast, slow), ...limit(targets.speed) },
      // The first round, which is not kept, opens sessions.
      { case: `${name} share waited`, value: median(waited.slice(1)), unit: 'of time', ...limit(targets.waited) },
    ]
  } finally {
    for (const opened of [inMemory, streamed, blocks]) await opened.dispose()
  }
}

/** Steps of a kind as a training does them, one a round. */
async function stepsOf(name: string, device: Device, quick: boolean, model: Model, blocks?: BlockSource) {
  const kind = kinds[name]!
  const [batch, length] = quick ? [1, 32] : [kind.batch, kind.length]
  const { config, params } = kind.learner(model)
  const objective = kind.objective(device, config, blocks)
  const rng = random(3)
  const draw = () =>
    ints(
      [batch, length],
      Int32Array.from({ length: batch * length }, () => rng.integer(config.vocab)),
    )
  const job = train(objective, params, {
    ...{ phase: 'bench', steps: Number.MAX_SAFE_INTEGER, learningRate: 1e-3, trains: kind.trains(config) },
    batches: { next: () => ({ ids: draw(), labels: draw() }), state: () => undefined, restore: () => {} },
    optimizer: adamw({ weightDecay: 0 }),
    clock: () => performance.now() / 1000,
  })
  return { tokens: batch * length, round: () => seconds(() => job.next()), dispose: objective.dispose }
}

/** Writes a model in float16 that is never in memory as a whole: its weights are the same numbers again and again. */
async function writeModel(folder: string, config: ModelConfig): Promise<void> {
  const specs = paramSpecs(config)
  const rng = random(4)
  const drawn = Float32Array.from({ length: 2 ** 16 }, () => 0.02 * rng.normal())
  const files: ModelFiles = {
    config,
    paths: Object.keys(specs),
    shape: (path) => specs[path]!.shape,
    dtype: () => 'F16',
    async read(path) {
      const { shape } = specs[path]!
      const data = new Float32Array(sizeOf(shape))
      for (let start = 0; start < data.length; start += drawn.length) {
        data.set(drawn.subarray(0, data.length - start), start)
      }
      return floats(shape, data)
    },
  }
  await saveFrom(folderSink(folder), files, { config, params: {} })
}
