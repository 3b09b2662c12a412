/** Commands that are killed at random moments and begun again, until they end: what they leave must be what they always do. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Random, random } from '../../src/base/random.ts'

/** A command that must survive being killed. */
export interface Suite {
  readonly name: string
  /** The words after `hedgehog`; the same for every start. */
  argv(at: (...parts: readonly string[]) => string, out: string): readonly string[]
}

const model = '--layers 1 --width 8 --heads 2 --length 16 --batch 2 --lr 0.01'.split(' ')
const often = ['--checkpoint-every', '1', '--quiet']

/** Every command that keeps its work. */
export const suites: readonly Suite[] = [
  {
    name: 'train',
    argv: (at, out) => [
      ...['train', '--data', at('text.txt'), '--validation', at('held.txt'), '--out', out, '--vocab', '270', ...model],
      ...['--steps', '40', '--eval-every', '7', '--best', '--dropout', '0.1', '--schedule', 'plateau', '--resume'],
      ...often,
    ],
  },
  {
    name: 'finetune',
    argv: (at, out) => [
      ...['finetune', at('model'), '--data', at('text.txt'), '--validation', at('held.txt'), '--out', out],
      ...['--lora', 'rank=2,dropout=0.1', '--length', '16', '--batch', '2', '--steps', '30', '--resume', ...often],
    ],
  },
  {
    name: 'convert',
    argv: (at, out) => [
      ...['convert', at('model'), '--data', at('text.txt'), '--out', out, '--length', '8', '--batch', '2'],
      ...['--distill-steps', '8', '--finetune-steps', '6', '--compare', 'elu,t2r', '--resume', ...often],
    ],
  },
  {
    name: 'convert-memory',
    argv: (at, out) => [
      ...['convert', at('model'), '--data', at('text.txt'), '--out', out, '--length', '8', '--batch', '2'],
      ...['--distill-steps', '6', '--distill-updates', '2', '--finetune-steps', '4', '--compare', 'elu', '--resume'],
      ...['--lora', 'rank=2', '--memory', '400MB', ...often],
    ],
  },
  {
    name: 'distill',
    argv: (at, out) => [
      ...['distill', at('model'), '--data', at('text.txt'), '--out', out, '--length', '8', '--batch', '2'],
      ...['--steps', '20', '--threads', '1', ...often],
    ],
  },
  {
    name: 'inspect',
    argv: (at, out) => [
      ...['inspect', at('model'), '--distill-data', at('text.txt'), '--data', at('held.txt'), '--out', out],
      ...['--maps', 'hedgehog,elu', '--distill-steps', '8', '--lengths', '4,8,16', ...often],
    ],
  },
  {
    name: 'eval',
    argv: (at, out) => [
      ...['eval', at('model'), '--data', at('text.txt'), at('held.txt'), '--batch', '1', '--length', '8', '--quiet'],
      ...['--metric', 'perplexity-by-position,bits-per-byte', '--out', out, '--resume'],
    ],
  },
  {
    name: 'experiment',
    argv: (_at, out) => [
      ...['experiment', 'run', 'mqar-64-4', '--quick', '--compare', 'softmax,elu', '--out', out, '--quiet'],
      ...['--set', 'width=8,steps=12,vocab=96,pairs=2', '--threads', '1'],
    ],
  },
]

/** What starts `hedgehog`: the words before those of the command. */
export type Program = readonly [string, ...string[]]

/** The program from its source. */
export const fromSource: Program = [
  process.execPath,
  '--import',
  'tsx',
  fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url)),
]

/** Texts and a model for the suites in a folder. */
export async function prepare(folder: string, program: Program): Promise<void> {
  await mkdir(folder, { recursive: true })
  const rng = random(1)
  const words = 'the old house stands near a quiet river and its door is green'.split(' ')
  const line = () => Array.from({ length: 9 }, () => words[rng.integer(words.length)]).join(' ')
  const text = (lines: number) => `${Array.from({ length: lines }, line).join('\n')}\n`
  await writeFile(join(folder, 'text.txt'), text(60))
  await writeFile(join(folder, 'held.txt'), text(20))
  const made = ['train', '--data', join(folder, 'text.txt'), '--vocab', '270', ...model, '--steps', '3', '--quiet']
  await ended(program, [...made, '--out', join(folder, 'model')])
}

/** What a suite did. */
export interface Killed {
  readonly kills: number
  readonly starts: number
}

/**
 * Runs a suite once to its end and then again and again with kills, until there were `kills` of them; after each end
 * compares the files with those of the first.
 */
export async function killed(
  { name, argv }: Suite,
  folder: string,
  program: Program,
  { kills: wanted, seed }: { readonly kills: number; readonly seed: number },
): Promise<Killed> {
  const at = (...parts: readonly string[]) => join(folder, ...parts)
  const whole = at(`${name}-whole`)
  const seconds = await ended(program, argv(at, whole))
  const want = await results(whole)
  const rng = random(seed).split(name)
  let [kills, starts, run] = [0, 1, 0]
  while (kills < wanted) {
    const out = at(`${name}-${run++}`)
    const found = await untilEnd(program, argv(at, out), seconds, rng, wanted - kills)
    kills += found.kills
    starts += found.starts
    assert.deepEqual(await results(out), want, `${name}: differs after ${found.kills} kills`)
    await rm(out, { recursive: true })
  }
  return { kills, starts }
}

/** Starts a command until it ends by itself. */
async function untilEnd(program: Program, argv: readonly string[], seconds: number, rng: Random, most: number) {
  for (let kills = 0; ; kills++) {
    const after = kills < most ? rng.uniform() * seconds * 1.1 : undefined
    const { code, signal, err } = await start(program, argv, after)
    if (signal === 'SIGKILL') continue
    assert.equal(code, 0, `after ${kills} kills: hedgehog ${argv.join(' ')}\n${err}`)
    return { kills, starts: kills + 1 }
  }
}

async function ended(program: Program, argv: readonly string[]): Promise<number> {
  const began = performance.now()
  const { code, err } = await start(program, argv)
  assert.equal(code, 0, `hedgehog ${argv.join(' ')}\n${err}`)
  return (performance.now() - began) / 1000
}

function start([command, ...words]: Program, argv: readonly string[], killAfter?: number) {
  const child = spawn(command, [...words, ...argv], { stdio: ['ignore', 'ignore', 'pipe'] })
  let err = ''
  child.stderr.on('data', (data) => {
    err += data
  })
  const timer = killAfter !== undefined && setTimeout(() => child.kill('SIGKILL'), killAfter * 1000)
  return new Promise<{ code: number | null; signal: string | null; err: string }>((resolve) =>
    child.on('close', (code, signal) => {
      if (timer) clearTimeout(timer)
      resolve({ code, signal, err })
    }),
  )
}

/** What differs from run to run, and says nothing of the result. */
const passing = new Set(['seconds', 'tokensPerSecond', 'waited', 'peakMemoryBytes', 'command', 'date', 'out'])

/** All files of a folder by their bytes; of JSON files what is to be the same, of pages only that they are there. */
async function results(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const read = files.map(async (file) => [file.slice(folder.length + 1), await contentOf(file)] as const)
  return Object.fromEntries((await Promise.all(read)).sort(([a], [b]) => (a < b ? -1 : 1)))
}

async function contentOf(file: string): Promise<string> {
  if (file.endsWith('.html')) return ''
  if (!file.endsWith('.json')) return readFile(file, 'latin1')
  const value = JSON.parse(await readFile(file, 'utf8'))
  return JSON.stringify(value, (key, inner) => (passing.has(key) ? undefined : inner))
}
