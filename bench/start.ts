/** `npm start` from end to end: its seconds, and the peak of memory that its report tells. */

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Report } from '../src/report/types.ts'
import { seconds } from './measure.ts'
import type { Bench } from './row.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const report = `${root}runs/start/report.json`
const targets = { seconds: 360, gigabytes: 3 }

export const startBench: Bench = {
  summary: 'npm start from end to end: seconds and peak memory',
  target: `at most ${targets.seconds} s and ${targets.gigabytes} GB`,
  async run({ quick, note }) {
    if (quick) throw new Error('npm start has no quick form; leave out --quick')
    note('running npm start')
    const took = await seconds(npmStart)
    const { peakMemoryBytes = Number.NaN } = JSON.parse(await readFile(report, 'utf8')) as Report
    return [
      { case: 'npm start', value: took, unit: 's', target: targets.seconds },
      { case: 'npm start, peak memory', value: peakMemoryBytes / 1e9, unit: 'GB', target: targets.gigabytes },
    ]
  },
}

/** Its output goes to the standard error, so that ours stays a table or JSON. */
function npmStart(): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', ['start'], { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
    child.once('error', reject)
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`npm start ended with code ${code}`))))
  })
}
