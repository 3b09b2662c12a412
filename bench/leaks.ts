/** Whether memory stays flat: hundreds of training steps, generations, sessions and checkpoints, after a warm-up. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { floats, ints } from '../src/base/array.ts'
import { random } from '../src/base/random.ts'
import { createBackward } from '../src/execute/backward.ts'
import { generate } from '../src/generate/generate.ts'
import { createGenerator } from '../src/generate/state.ts'
import { add, matmul } from '../src/graph/ops.ts'
import { newModel } from '../src/models/families.ts'
import { gpt2 } from '../src/models/gpt2.ts'
import { openDevice } from '../src/node/device.ts'
import { folderStore } from '../src/node/files.ts'
import { compile } from '../src/runtime/compile.ts'
import type { Device } from '../src/runtime/device.ts'
import { clip } from '../src/train/clip.ts'
import { adamw, createSlots } from '../src/train/optimizers.ts'
import { stateFiles } from '../src/train/stateFiles.ts'
import type { Bench } from './row.ts'

/** Something that is done again and again. */
interface Repeated {
  once(step: number): Promise<void>
  dispose(): Promise<void>
}

const sizes = { layers: 2, heads: 2, width: 64, vocab: 256, maxLength: 64 }
const attention = { kind: 'linear', map: 'hedgehog-softmax' } as const

/** What must not keep memory, by name. */
export const repeated: Readonly<Record<string, (device: Device) => Promise<Repeated>>> = {
  async 'training steps'(device) {
    const { config, params } = newModel(gpt2.configOf({ ...sizes, attention }), random(1))
    const objective = createBackward(device, config)
    const grads = Object.fromEntries(Object.entries(params).map(([path, { shape }]) => [path, floats(shape)]))
    const optimizer = adamw()
    const slots = createSlots(optimizer, params)
    const rng = random(2)
    const ids = () =>
      ints(
        [2, 64],
        Int32Array.from({ length: 128 }, () => rng.integer(256)),
      )
    return {
      async once(step) {
        await objective.accumulate(params, grads, { ids: ids(), labels: ids() }, { tokenWeight: 1 / 128, fresh: true })
        const { gradScale } = clip(grads)
        optimizer.step({ params, grads, slots, step: step + 1, learningRate: 1e-3, gradScale })
      },
      dispose: objective.dispose,
    }
  },
  async generations(device) {
    const model = newModel(gpt2.configOf({ ...sizes, attention }), random(1))
    const generator = createGenerator(device, model)
    return {
      async once(step) {
        for await (const _ of generate(generator, [step % 256, 7], { maxTokens: 8, temperature: 0 }));
      },
      dispose: generator.dispose,
    }
  },
  async sessions(device) {
    const x = floats([16, 16])
    return {
      async once(step) {
        const compiled = compile(device, (inputs) => ({ y: add(matmul(inputs.x!, inputs.x!), step) }))
        await compiled({ x })
        await compiled.dispose()
      },
      dispose: async () => {},
    }
  },
  async checkpoints() {
    const folder = await mkdtemp(join(tmpdir(), 'hedgehog-leaks-'))
    const store = stateFiles(folderStore(folder), { fingerprint: '{}' })
    const params = { weight: floats([256, 256]) }
    return {
      async once(step) {
        const rest = { schedule: {} as never, data: null, curve: [], tokens: 0, seconds: 0 }
        await store.save('stage', { step, params, slots: { m: params }, ...rest })
        await store.resume('stage')
      },
      dispose: () => rm(folder, { recursive: true }),
    }
  },
}

/** How much memory grew over `rounds` repetitions, as a share, after as many for warming up. */
export async function growth(open: (device: Device) => Promise<Repeated>, rounds: number): Promise<number> {
  const device = await openDevice('cpu', { threads: 1 })
  const { once, dispose } = await open(device)
  try {
    for (let step = 0; step < rounds; step++) await once(step)
    const before = settledMemory()
    for (let step = 0; step < rounds; step++) await once(step)
    return settledMemory() / before - 1
  } finally {
    await dispose()
  }
}

/** Bytes of resident memory after the garbage is collected. */
function settledMemory(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let i = 0; i < 3; i++) collect()
  return process.memoryUsage.rss()
}

export const leaksBench: Bench = {
  summary: 'growth of memory over hundreds of training steps, generations, sessions and checkpoints',
  target: 'at most 2 % each',
  async run({ quick, note }) {
    const rows = []
    for (const [name, open] of Object.entries(repeated)) {
      const rounds = quick ? 5 : name === 'sessions' ? 600 : 300
      note(`${rounds} ${name}, twice`)
      const value = 100 * (await growth(open, rounds))
      rows.push({ case: `${rounds} ${name}`, value, unit: '% growth', ...(!quick && { target: 2 }) })
    }
    return rows
  },
}
