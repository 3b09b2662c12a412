/** Commands that need memory for a part of a model, however many layers it has: measured in processes of their own. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { planNamed } from '../../src/attention/plan.ts'
import { type FloatArray, floats, sizeOf } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { exportTargets, type TargetName } from '../../src/deploy/targets.ts'
import { paramSpecs } from '../../src/models/families.ts'
import { bytesOf, saveFrom } from '../../src/models/files.ts'
import { llama } from '../../src/models/llama.ts'
import type { ModelConfig } from '../../src/models/model.ts'
import { folderSink } from '../../src/node/files.ts'

let folder = ''
const at = (name: string) => join(folder, name)
const [few, many] = [2, 26]
const sizes = new Map<number, number>()

/** Writes a model that is never in memory: all weights of a shape are the same. */
async function make(name: string, config: ModelConfig): Promise<number> {
  const specs = paramSpecs(config)
  const known = new Map<string, FloatArray>()
  const files = {
    config,
    paths: Object.keys(specs),
    shape: (path: string) => specs[path]!.shape,
    dtype: () => 'BF16',
    async read(path: string) {
      const { shape } = specs[path]!
      const rng = random(sizeOf(shape))
      const made = () => Float32Array.from({ length: sizeOf(shape) }, () => 0.02 * rng.normal())
      if (!known.has(`${shape}`)) known.set(`${shape}`, floats(shape, made()))
      return known.get(`${shape}`)!
    },
  }
  await saveFrom(folderSink(at(name)), files, { config, params: {} })
  await cp('models/tiny/tokenizer.json', join(at(name), 'tokenizer.json'))
  return bytesOf(files, files.paths)
}

/** The most memory of a command line, in bytes. */
async function peak(...argv: readonly string[]): Promise<number> {
  const [main, preload] = ['../../src/cli/main.ts', './peak.ts'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  const words = ['--import', 'tsx', '--import', preload!, main!, ...argv]
  const { stderr } = await promisify(execFile)(process.execPath, words)
  return Number(stderr.split('\n').at(-1))
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-memory-'))
  await writeFile(at('text.txt'), 'The old house stands near a quiet river, and its door is green.\n'.repeat(3))
  for (const layers of [few, many]) {
    const shape = { layers, heads: 8, width: 512, vocab: 4096, maxLength: 64 }
    const adapter = { rank: 4, alpha: 8, dropout: 0, targets: 'all-linear' } as const
    // Narrow heads have small maps: what learns grows with the layers, whatever of them is in memory.
    await make(`plain-${layers}`, llama.configOf({ ...shape, heads: 32 }))
    sizes.set(layers, await make(`adapted-${layers}`, { ...llama.configOf(shape), adapter }))
    for (const map of ['hedgehog-softmax', 'hedgehog-softmax-joint']) {
      await make(`${map}-${layers}`, llama.configOf({ ...shape, attention: planNamed(map) }))
    }
  }
})
after(() => rm(folder, { recursive: true, force: true }))

const map = (target: TargetName) => (target === 'fla' ? 'hedgehog-softmax-joint' : 'hedgehog-softmax')
const options: Readonly<Partial<Record<TargetName, readonly string[]>>> = {
  'transformers.js': ['--dtype', 'int8'],
  fla: ['--inexact'],
}
const exports = (Object.keys(exportTargets) as TargetName[]).map((target) => {
  const argv = (layers: number) => [
    'export',
    at(`${map(target)}-${layers}`),
    '--to',
    target,
    ...(options[target] ?? []),
  ]
  return [`to export to ${target}`, argv] as const
})

describe('a model with more layers takes hardly more memory', () => {
  const commands: Readonly<Record<string, (layers: number) => readonly string[]>> = {
    'to convert within a given memory': (layers) => [
      ...['convert', at(`plain-${layers}`), '--data', at('text.txt'), '--memory', '450MB', '--lora', 'rank=2'],
      ...['--length', '16', '--batch', '2', '--compare', 'elu', '--distill-steps', '1', '--finetune-steps', '1'],
      ...['--validation', at('text.txt'), '--test', at('text.txt'), '--quiet'],
    ],
    'to merge an adapter': (layers) => ['merge', at(`adapted-${layers}`)],
    ...Object.fromEntries(exports),
  }
  for (const [title, argv] of Object.entries(commands)) {
    it(title, async () => {
      const run = async (layers: number) => {
        const most = await peak(...argv(layers), '--out', at('out'))
        await rm(at('out'), { recursive: true })
        return most
      }
      const added = sizes.get(many)! - sizes.get(few)!
      const least = await run(few)
      const peaks: number[] = []
      // On a busy machine garbage is collected late in one run or another: what is needed is the least of some.
      do peaks.push(await run(many))
      while (peaks.length < 3 && Math.min(...peaks) - least >= added / 4)
      const grown = Math.min(...peaks) - least
      assert.ok(added > 3e8 && grown < added / 4, `${grown} bytes more for ${added} of layers, ${least} and ${peaks}`)
    })
  }
})
