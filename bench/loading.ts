/** Peak memory of whole processes that load a model of GPT-2 small's shape from each format. */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { floats, type Params, sizeOf } from '../src/base/array.ts'
import type { Sink } from '../src/io/files.ts'
import { writeSafetensors } from '../src/io/safetensors.ts'
import { paramSpecs } from '../src/models/families.ts'
import { saveModel, writeJson } from '../src/models/folder.ts'
import type { ModelConfig } from '../src/models/model.ts'
import { folderSink } from '../src/node/files.ts'
import { configOf, plans } from './gpt2Small.ts'
import { inProcesses } from './measure.ts'
import type { Bench, Row } from './row.ts'
import { torchFile } from './torchFile.ts'

/** Most of the float32 size that a process may hold at its peak, itself included. */
const mostTimes = 1.2

/** What is written to load it again, by its title. */
const formats: Readonly<Record<string, (sink: Sink, config: ModelConfig, params: Params) => Promise<void>>> = {
  'safetensors, float32': (sink, config, params) => saveModel(sink, { config, params }),
  'safetensors, bfloat16': (sink, config, params) => saveModel(sink, { config, params }, { dtype: 'bfloat16' }),
  'safetensors, float16, 3 files': writeShards,
  'PyTorch, float32': async (sink, config, params) => {
    await sink.write('pytorch_model.bin', torchFile(params))
    await writeJson(sink, 'config.json', config.json)
  },
}

const smollm = fileURLToPath(new URL('../.cache/models/smollm2-135m-instruct', import.meta.url))
const smollmParameters = 134_515_008

export const loadingBench: Bench = {
  summary: 'peak memory of a process that loads a model of 500 MB, by format',
  target: `at most ${mostTimes} times the float32 size of the weights, the process itself included`,
  async run({ quick, note }) {
    const config = configOf({ quick, plan: plans.softmax })
    const params = paramsOf(config)
    const bytes = Object.values(params).reduce((sum, { data }) => sum + data.byteLength, 0)
    const rows: Row[] = []
    for (const [title, write] of Object.entries(formats)) {
      note(title)
      const folder = await mkdtemp(join(tmpdir(), 'hedgehog-loading-'))
      try {
        await write(folderSink(folder), config, params)
        rows.push(...(await measured(title, folder, bytes, quick)))
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    }
    if (existsSync(smollm) && !quick) {
      note('GGUF, Q4_1')
      rows.push(...(await measured('GGUF, Q4_1 (SmolLM2-135M)', smollm, 4 * smollmParameters, quick)))
    } else note('GGUF is left out: run scripts/fetch-models.ts first')
    return rows
  },
}

async function measured(title: string, folder: string, bytes: number, quick: boolean): Promise<Row[]> {
  const module = new URL('loadingCase.ts', import.meta.url).href
  const { cases: found } = await inProcesses([{ module, name: 'load', options: { folder } }], 1)
  const { values, peak } = found[0]!
  // A process of Node alone is larger than the smallest model.
  const target = quick ? {} : { target: 1 / mostTimes }
  return [
    { case: title, value: peak / 1e9, unit: 'GB', peer: 'its float32 size', ratio: bytes / peak, ...target },
    { case: `${title}: time`, value: values[0]!, unit: 's' },
  ]
}

function paramsOf(config: ModelConfig): Params {
  const entries = Object.entries(paramSpecs(config)).map(([path, { shape }]) => {
    return [path, floats(shape, new Float32Array(sizeOf(shape)).fill(0.02))] as const
  })
  return Object.fromEntries(entries)
}

async function writeShards(sink: Sink, config: ModelConfig, params: Params): Promise<void> {
  const files: Record<string, string> = {}
  const names = Object.keys(params)
  for (const part of [0, 1, 2]) {
    const file = `model-${part + 1}-of-3.safetensors`
    const own = names.filter((_, i) => i % 3 === part)
    for (const name of own) files[name] = file
    await writeSafetensors(sink, file, Object.fromEntries(own.map((name) => [name, params[name]!])), {
      dtype: 'float16',
    })
  }
  await writeJson(sink, 'model.safetensors.index.json', { weight_map: files })
  await writeJson(sink, 'config.json', config.json)
}
