/** `hedgehog distill` whole and in shards, `merge` of the shards, and `submit` without a cluster. */

import assert from 'node:assert/strict'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import { kubernetesJob, slurmArray, slurmMerge } from '../../src/cli/clusters.ts'
import { commands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import { loadModel } from '../../src/models/folder.ts'
import { folderSource } from '../../src/node/files.ts'
import { near } from '../tensors.ts'

let folder = ''
const at = (...parts: readonly string[]) => join(folder, ...parts)

async function hedgehog(argv: readonly string[]) {
  const written = { out: '', err: '' }
  const code = await runCommandLine([...argv], commands, {
    out: { write: (text) => (written.out += text) },
    err: { write: (text) => (written.err += text) },
    env: {},
    signals: { on: () => {}, off: () => {} },
    version: '1.2.3',
    now: () => 0,
    memory: () => 0,
    exit: () => {},
  })
  return { code, ...written, last: written.out.trimEnd().split('\n').at(-1)! }
}

async function succeeds(argv: readonly string[]) {
  const found = await hedgehog([...argv, '--json'])
  assert.equal(found.code, 0, found.err)
  return { ...found, value: JSON.parse(found.last) }
}

async function fails(argv: readonly string[], code: number, message: RegExp) {
  const found = await hedgehog(argv)
  assert.match(found.err, message)
  assert.equal(found.code, code)
}

const small = '--length 8 --batch 2 --steps 4 --threads 1'.split(' ')
const distil = (out: string, ...more: readonly string[]) => [
  ...['distill', at('model'), '--data', at('text.txt'), '--out', at(out), ...small, ...more],
]
const weights = (out: string) => readFile(at(out, 'model.safetensors'), 'latin1')

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-distill-'))
  const rng = random(1)
  const words = 'the old house stands near a quiet river and its door is green'.split(' ')
  const line = () => Array.from({ length: 9 }, () => words[rng.integer(words.length)]).join(' ')
  await writeFile(at('text.txt'), `${Array.from({ length: 60 }, line).join('\n')}\n`)
  const shape = '--layers 3 --width 8 --heads 2 --length 16 --vocab 270 --batch 2 --steps 2'.split(' ')
  await succeeds(['train', '--data', at('text.txt'), '--out', at('model'), ...shape])
})
after(() => rm(folder, { recursive: true, force: true }))

describe('hedgehog distill', () => {
  it('lowers the loss of every layer, and its shards merge into what it gives whole, to the byte', async () => {
    const { value } = await succeeds(distil('whole'))
    assert.deepEqual(
      value.layers.map(({ layer }: { layer: number }) => layer),
      [0, 1, 2],
    )
    for (const { before, after } of value.layers) assert.ok(after < before)
    const { config } = await loadModel(folderSource(at('whole')))
    assert.ok(config.attention.every((plan) => plan.kind === 'linear'))

    await succeeds(distil('parts', '--shard', '2/2'))
    await fails(['merge', at('model'), at('parts'), '--out', at('no')], 1, /shard 1 of 2 is missing or not finished/)
    const first = await succeeds(distil('parts', '--shard', '1/2'))
    // Doing it again does nothing.
    const again = await succeeds(distil('parts', '--shard', '1/2'))
    assert.match(again.err, /was finished before/)
    assert.deepEqual(again.value, first.value)
    const merged = await succeeds(['merge', at('model'), at('parts'), '--out', at('merged')])
    assert.equal(merged.value.shards, 2)
    assert.deepEqual(merged.value.layers, value.layers)
    assert.equal(await weights('merged'), await weights('whole'))
  })

  it('gives the same within a memory that holds two blocks, and says the smallest that works', async () => {
    const { err } = await succeeds(distil('narrow', '--memory', '370MB'))
    assert.match(err, /memory: 3\d\d MB of 370 MB: program 350 MB, /)
    assert.equal(await weights('narrow'), await weights('whole'))
    await fails(
      distil('no', '--memory', '10MB'),
      1,
      /memory: got 10 MB, want at least 4?\d\d MB, which hold two blocks/,
    )
  })

  it('updates maps several times in a step, in shards and within a memory as it does whole', async () => {
    const often = ['--updates', '2']
    await succeeds(distil('often', ...often))
    assert.notEqual(await weights('often'), await weights('whole'))
    for (const shard of ['1/2', '2/2']) {
      await succeeds(distil('often-parts', ...often, '--memory', '370MB', '--shard', shard))
    }
    await succeeds(['merge', at('model'), at('often-parts'), '--out', at('often-merged')])
    assert.equal(await weights('often-merged'), await weights('often'))
    await fails(distil('no', '--updates', '3'), 2, /--updates: got 3, want a divisor of the length 8/)
  })

  it('does not merge shards of different runs, models or numbers', async () => {
    await cp(at('parts'), at('mixed'), { recursive: true })
    await succeeds([...distil('mixed', '--shard', '2/2', '--force'), '--seed', '7'])
    const merge = (dir: string, model = 'model') => ['merge', at(model), at(dir), '--out', at('no')]
    await fails(
      merge('mixed'),
      1,
      /shard-2-of-2\/distill\.json: was written by a job with other settings: .*seed was 7, now 0/,
    )
    await succeeds(distil('mixed', '--shard', '1/3'))
    await fails(merge('mixed'), 1, /has shards of 3 and of 2|has shards of 2 and of 3/)
    await fails(merge('parts', 'whole'), 1, /its shards are of another model than .*whole/)
    await fails(distil('parts', '--shard', '1/2', '--steps', '5'), 1, /recipe\.steps was 4, now 5/)
  })

  it('refuses what it cannot do before it begins', async () => {
    await fails(distil('no', '--shard', '3/2'), 2, /--shard: got '3\/2', want I\/N/)
    await fails(distil('no', '--shard', '1/4'), 2, /--shard: got 4 shards of 3 layers, want at most one for each layer/)
    await fails(distil('no', '--map', 'elu'), 2, /--map: elu has no maps that are distilled/)
    await fails(distil('model', '--force'), 2, /is the model that is distilled/)
    await fails(['distill', at('whole'), '--data', at('text.txt'), '--out', at('no')], 1, /layer 0 .* is not softmax/)
    assert.deepEqual(await readdir(at('no')).catch(() => []), [])
  })
})

describe('--memory', () => {
  it('gives a LoRA finetuning and a perplexity that are those in memory', async () => {
    const tune = (out: string, ...more: readonly string[]) => [
      ...['finetune', at('model'), '--data', at('text.txt'), '--steps', '3'],
      ...['--length', '8', '--batch', '2', '--lr', '0.01', '--out', at(out), ...more],
    ]
    const lora = ['--lora', 'rank=2']
    for (const [name, more] of [
      ['kept', [...lora, '--keep-adapter']],
      ['merged-at-once', lora],
    ] as const) {
      const want = await succeeds(tune(name, ...more))
      const got = await succeeds(tune(`${name}-narrow`, ...more, '--memory', '400MB'))
      assert.match(got.err, /memory: 3\d\d MB of 400 MB/)
      assert.ok(Math.abs(got.value.loss - want.value.loss) < 1e-5)
      assert.equal(got.value.parameters, want.value.parameters)
      const [a, b] = [await loadModel(folderSource(at(name))), await loadModel(folderSource(at(`${name}-narrow`)))]
      assert.deepEqual(b.config, a.config)
      assert.deepEqual(Object.keys(b.params).sort(), Object.keys(a.params).sort())
      for (const [path, array] of Object.entries(a.params)) near(b.params[path], array, 1e-5, path)
    }
    await fails(tune('no', ...lora, '--memory', '1MB'), 1, /memory: got 1.0 MB, want at least \d+ MB/)
    await fails(
      tune('no', '--memory', '400MB'),
      2,
      /--memory: weights that are read as they are needed do not learn; pass --lora/,
    )
    const score = async (...more: readonly string[]) =>
      (await succeeds(['eval', at('whole'), '--data', at('text.txt'), ...more])).value
    assert.deepEqual(await score('--memory', '400MB'), await score())
  })
})

describe('descriptions for clusters', () => {
  const job = {
    program: 'hedgehog',
    model: '/data/llama-2-7b',
    out: '/data/parts',
    shards: 8,
    words: ['--data', '/data/corpus.txt', '--memory', '6000000000'],
    cpus: 4,
    memory: 6.6e9,
    time: '24:00:00',
  }
  const deploy = (file: string) => readFile(new URL(`../../deploy/${file}`, import.meta.url), 'utf8')

  it('in deploy/ are those that submit writes', async () => {
    assert.equal(await deploy('slurm/distill.sbatch'), slurmArray(job))
    assert.equal(await deploy('slurm/merge.sbatch'), slurmMerge(job))
    assert.equal(await deploy('kubernetes/distill.yaml'), kubernetesJob(job))
  })

  it('hand every option of the distillation on', async () => {
    const argv = ['submit', at('model'), '--data', at('text.txt'), '--shards', '3', '--out', at('cluster'), ...small]
    await succeeds([...argv, '--slurm', '--dry-run', '--seed', '5', '--cpus', '1'])
    const script = await readFile(at('cluster/distill.sbatch'), 'utf8')
    assert.match(script, /#SBATCH --array=1-3\n/)
    const line = script.trimEnd().split('\n').at(-1)!
    assert.equal(
      line,
      `exec hedgehog distill ${at('model')} --data ${at('text.txt')} --length 8 --batch 2 --steps 4 --seed 5 ` +
        `--shard "$SLURM_ARRAY_TASK_ID/3" --out ${at('cluster')} --threads 1 --quiet`,
    )
    const { out } = await hedgehog([...argv, '--kubernetes', '--image', 'me/hedgehog'])
    assert.match(out, /completions: 3\n[\s\S]*image: me\/hedgehog/)
    await fails(argv, 2, /want one of --slurm and --kubernetes/)
  })
})
