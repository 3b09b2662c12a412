/** How long an interrupted job takes to go on: from the start of the process to its first new step. */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { interleaved, median } from './measure.ts'
import type { Bench, Row } from './row.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const program = join(root, 'dist/cli/main.js')
const text = join(root, '.cache/brown/train.txt')
const targetSeconds = 5

/** Commands on the bundled model and the Brown corpus, which are never finished here. */
const commands: Readonly<Record<string, readonly string[]>> = {
  distill: ['distill', 'models/tiny'],
  'finetune --lora': ['finetune', 'models/tiny', '--lora', 'rank=8', '--resume'],
  convert: ['convert', 'models/tiny', '--resume'],
}
/** Steps that are asked for, by the option of each command. */
const steps = (command: string): readonly string[] => [
  command.startsWith('convert') ? '--distill-steps' : '--steps',
  '1000000',
]

export const resumeBench: Bench = {
  summary: 'an interrupted job on the bundled model that goes on: seconds to its first new step',
  target: `at most ${targetSeconds} s`,
  async run({ quick, note }) {
    for (const file of [program, text]) {
      if (!existsSync(file)) throw new Error(`${file}: no such file; run npm run build and npm run prestart first`)
    }
    const folder = await mkdtemp(join(tmpdir(), 'hedgehog-resume-'))
    const argv = Object.entries(commands).map(([name, words]) => {
      return [...words, '--data', text, '--out', join(folder, name), ...steps(name), '--json']
    })
    try {
      // The first round, which is not kept, begins the jobs.
      const times = await interleaved(
        argv.map((words) => () => untilStep(words)),
        quick ? 1 : 3,
        note,
      )
      return Object.keys(commands).map((name, i): Row => {
        return { case: name, value: median(times[i]!), unit: 's', target: targetSeconds }
      })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
}

/** Starts a job, interrupts it after its first step of training, so that it is saved, and tells the seconds to that step. */
function untilStep(words: readonly string[]): Promise<number> {
  const began = performance.now()
  const child = spawn(process.execPath, [program, ...words], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  let took: number | undefined
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk
  })
  createInterface(child.stdout).on('line', (line) => {
    if (took !== undefined || !('metrics' in JSON.parse(line))) return
    took = (performance.now() - began) / 1000
    child.kill('SIGINT')
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (took !== undefined && code === 130) resolve(took)
      else reject(new Error(`hedgehog ${words.join(' ')}: ended with code ${code}: ${said}`))
    })
  })
}
