/** Finetunings within a memory that the states between blocks do not fit into, beside those that they fit into. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import { commands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import { planMemory } from '../../src/execute/memoryPlan.ts'
import { bytesOf, openModelFiles, pathsOf } from '../../src/models/files.ts'
import { folderSource } from '../../src/node/files.ts'

let folder = ''
const at = (...parts: readonly string[]) => join(folder, ...parts)

async function hedgehog(argv: readonly string[], see?: (interrupt: () => void) => void) {
  const signals = new EventEmitter()
  const written = { out: '', err: '' }
  const code = await runCommandLine([...argv], commands, {
    out: {
      write(text) {
        written.out += text
        if (text.startsWith('{"phase"')) see?.(() => signals.emit('SIGINT'))
      },
    },
    err: { write: (text) => (written.err += text) },
    ...{ env: {}, signals, version: '1.2.3', now: () => 0, memory: () => 0, exit: () => {} },
  })
  return { code, ...written }
}

async function succeeds(argv: readonly string[]) {
  const found = await hedgehog(argv)
  assert.equal(found.code, 0, found.err)
  return found
}

const shape = { batch: 64, length: 64 }
const tune = (out: string, memory: number, ...more: readonly string[]) => [
  ...[
    'finetune',
    at('model'),
    '--data',
    at('text.txt'),
    '--lora',
    'rank=2,dropout=0.1',
    '--keep-adapter',
    '--steps',
    '3',
  ],
  ...['--batch', `${shape.batch}`, '--length', `${shape.length}`, '--lr', '0.01', '--memory', `${memory}`],
  ...['--out', out, '--json', ...more],
]
/** A memory that the states between blocks just fit into, and one that they do not. */
let [roomy, tight] = [0, 0]

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-spill-'))
  const rng = random(1)
  const words = 'the old house stands near a quiet river and its door is green'.split(' ')
  const line = () => Array.from({ length: 9 }, () => words[rng.integer(words.length)]).join(' ')
  await writeFile(at('text.txt'), `${Array.from({ length: 800 }, line).join('\n')}\n`)
  const small = '--layers 24 --width 8 --heads 2 --length 64 --vocab 270 --batch 2 --steps 1'.split(' ')
  await succeeds(['train', '--family', 'llama', '--data', at('text.txt'), '--out', at('model'), ...small])
  const files = await openModelFiles(folderSource(at('model')))
  const sizes = { outerBytes: bytesOf(files, pathsOf(files)), blockBytes: bytesOf(files, pathsOf(files, 0)) }
  const run = { config: files.config, ...sizes, ...shape, learned: 3000, pass: 'finetune' } as const
  const { total, blocks, spilled } = planMemory({ ...run, memory: 1e12 })
  assert.equal(spilled, 0)
  roomy = total
  tight = total - blocks - 1_000_000
})
after(() => rm(folder, { recursive: true, force: true }))

const weights = (out: string) => readFile(join(out, 'model.safetensors'), 'latin1')

describe('states between blocks that do not fit into --memory', () => {
  it('are on disk, which the plan tells, and change nothing', async () => {
    const want = await succeeds(tune(at('roomy'), roomy))
    assert.doesNotMatch(want.err + want.out, /on disk/)
    const got = await succeeds(tune(at('tight'), tight))
    assert.match(
      got.err,
      /memory: 3\d\d MB of 3\d\d MB: .*states between blocks 786 kB.*; states between blocks on disk: 3\.1 MB\n/,
    )
    const losses = ({ out }: { out: string }) => out.match(/"loss":[\d.]+/g)
    assert.deepEqual(losses(got), losses(want))
    assert.equal(await weights(at('tight')), await weights(at('roomy')))
    assert.deepEqual((await readdir(at('tight'))).sort(), (await readdir(at('roomy'))).sort())
  })

  it('are gone after Ctrl-C, and the job goes on to the same end', async () => {
    const argv = tune(at('stopped'), tight, '--checkpoint-every', '1')
    const stopped = await hedgehog(argv, (interrupt) => interrupt())
    assert.equal(stopped.code, 130)
    assert.deepEqual(await readdir(at('stopped')), ['work'])
    await succeeds([...argv, '--resume'])
    assert.equal(await weights(at('stopped')), await weights(at('tight')))
  })

  it('say that the disk is full in one line', async (context) => {
    await mkdir(at('disk'))
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at('disk')], { stdio: 'ignore' })
    } catch {
      return context.skip('a small disk cannot be mounted here')
    }
    try {
      const { code, err } = await hedgehog(tune(at('disk', 'out'), tight))
      assert.equal(code, 1)
      assert.match(
        err,
        /\nhedgehog: finetune: step 1: \S+disk\S+: states between blocks not written: disk full[^\n]+\n$/,
      )
      assert.deepEqual(await readdir(at('disk', 'out')), [])
    } finally {
      execFileSync('umount', [at('disk')])
    }
  })
})
