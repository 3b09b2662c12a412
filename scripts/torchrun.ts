/**
 * `HEDGEHOG_PYTHON=venv/bin/python node --import tsx scripts/torchrun.ts`, after `npm run build`: models of hedgehog in PyTorch by
 * deploy/torchrun have hedgehog's logits; one process, two, and two machines of one learn the same from the same batches; and
 * hedgehog scores what they learned.
 */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { planNamed } from '../src/attention/plan.ts'
import { ints } from '../src/base/array.ts'
import { random } from '../src/base/random.ts'
import { createForward } from '../src/execute/forward.ts'
import { families, newModel } from '../src/models/families.ts'
import { loadModel, saveModel } from '../src/models/folder.ts'
import { openDevice } from '../src/node/device.ts'
import { folderSink, folderSource } from '../src/node/files.ts'

const python = process.env.HEDGEHOG_PYTHON
if (!python)
  throw new Error('torchrun: HEDGEHOG_PYTHON is missing, want a Python with torch, transformers and safetensors')
const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'hedgehog-torchrun-'))
const at = (name: string) => join(folder, name)
const env = { ...process.env, OMP_NUM_THREADS: '1' }
const run = (command: string, ...words: readonly string[]) =>
  execFileSync(command, [...words], { cwd: root, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
const hedgehog = (...words: readonly string[]) => run(process.execPath, 'dist/cli/main.js', ...words, '--quiet')

const maps = ['hedgehog-exp', 'hedgehog-exp+half+bias', 'hedgehog-softmax+half', 'hedgehog-softmax+bias+tied']
const plans = [...maps, 'hedgehog-softmax-joint', 'softmax']

/** Writes a small model, ids, and what hedgehog makes of them. */
async function place(family: string, plan: string): Promise<string> {
  const sizes = { layers: 2, heads: 4, keyHeads: family === 'llama' ? 2 : 4, width: 32, vocab: 64, maxLength: 200 }
  const model = newModel(families[family]!.configOf({ ...sizes, attention: planNamed(plan) }), random(1))
  const rng = random(2)
  for (const { data } of Object.values(model.params)) {
    for (let i = 0; i < data.length; i++) data[i]! += 0.2 * rng.normal()
  }
  const ids = ints(
    [2, 150],
    Int32Array.from({ length: 300 }, () => rng.integer(sizes.vocab)),
  )
  const forward = createForward(await openDevice('cpu'), model.config)
  const logits = await forward.logits(model.params, await forward.hidden(model.params, { ids }))
  await forward.dispose()
  const out = at(`${family} with ${plan}`)
  await saveModel(folderSink(out), model)
  writeFileSync(join(out, 'ids.bin'), new Uint8Array(ids.data.buffer))
  writeFileSync(join(out, 'logits.bin'), new Uint8Array(logits.data.slice().buffer))
  return out
}

const training = ['--data', join(at('brown'), 'validation.txt'), '--steps', '10', '--batch', '4', '--every', '5']
const words = (out: string, ...how: readonly string[]) => [
  ...how,
  ...['deploy/torchrun/train.py', at('converted'), ...training, '--out', at(out)],
]
const torchrun = join(dirname(python), 'torchrun')

/** Two machines that find each other: both are this one. */
async function twoMachines(out: string): Promise<void> {
  const how = ['--nnodes', '2', '--nproc_per_node', '1', '--rdzv_backend', 'c10d', '--rdzv_endpoint', 'localhost:29517']
  const both = [0, 1].map(() => spawn(torchrun, words(out, ...how), { cwd: root, env, stdio: 'ignore' }))
  const codes = await Promise.all(both.map(async (child) => (await once(child, 'exit'))[0]))
  if (codes.some((code) => code !== 0)) throw new Error(`torchrun: two machines ended with ${codes}`)
}

/** The largest difference of a weight. */
async function apart(one: string, other: string): Promise<number> {
  const [a, b] = await Promise.all([one, other].map((name) => loadModel(folderSource(at(name)))))
  const differences = Object.entries(a!.params).map(([path, { data }]) => {
    return data.reduce((most, value, i) => Math.max(most, Math.abs(value - b!.params[path]!.data[i]!)), 0)
  })
  return Math.max(...differences)
}

try {
  const folders: string[] = []
  for (const family of ['gpt2', 'llama']) for (const plan of plans) folders.push(await place(family, plan))
  console.log(run(python, 'scripts/peers/model_logits.py', ...folders))

  run(process.execPath, '--import', 'tsx', 'scripts/prepare-text.ts', '--brown-only', '--out', at('brown'))
  hedgehog(
    'distill',
    'models/tiny',
    '--data',
    join(at('brown'), 'validation.txt'),
    '--steps',
    '20',
    '--out',
    at('converted'),
  )
  console.log(run(torchrun, ...words('one', '--nproc_per_node', '1')))
  console.log(run(torchrun, ...words('two', '--nproc_per_node', '2')))
  await twoMachines('machines')
  for (const [one, other] of [
    ['one', 'two'],
    ['two', 'machines'],
    ['converted', 'one'],
  ] as const) {
    console.log(`${one} and ${other}: weights within ${(await apart(one, other)).toExponential(1)}`)
  }
  for (const name of ['converted', 'two']) {
    console.log(
      `${name}: ${hedgehog('eval', at(name), '--data', join(at('brown'), 'test.txt'), '--max-tokens', '20000')}`,
    )
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
