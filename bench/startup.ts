/** How long the command line takes to answer: `hedgehog --help` of the built program, beside Node alone. */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { interleaved, median, medianRatio, seconds } from './measure.ts'
import type { Bench } from './row.ts'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const targetMilliseconds = 300

export const startupBench: Bench = {
  summary: 'hedgehog --help of the built command line',
  target: `at most ${targetMilliseconds} ms`,
  async run({ quick }) {
    if (!existsSync(program)) throw new Error(`${program}: no such file; run npm run build first`)
    const times = await interleaved([node(program, '--help'), node('-e', '0')], quick ? 1 : 15)
    const [help, alone] = times as [number[], number[]]
    const value = median(help) * 1000
    return [
      { case: 'hedgehog --help', value, unit: 'ms', target: targetMilliseconds },
      { case: 'hedgehog --help', value, unit: 'ms', peer: 'node alone', ratio: medianRatio(alone, help) },
    ]
  },
}

function node(...args: string[]): () => Promise<number> {
  return () =>
    seconds(() => {
      const { status, stderr } = spawnSync(process.execPath, args)
      if (status !== 0) throw new Error(`node ${args.join(' ')}: ended with code ${status}: ${stderr}`)
    })
}
