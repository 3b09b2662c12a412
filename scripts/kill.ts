/**
 * `npm run test:kill [-- --kills 240 --seed 1 --suite NAME]`: kills every long command at random moments and begins it
 * again until it ends; its files must be those of a run that nobody killed, to the byte. Needs `npm run build`.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { killed, type Program, prepare, suites } from '../test/cli/kills.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '240' },
    seed: { type: 'string', default: '1' },
    suite: { type: 'string' },
  },
})
const program: Program = [process.execPath, fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))]
const chosen = suites.filter(({ name }) => values.suite === undefined || name === values.suite)
if (chosen.length === 0) throw new Error(`--suite: got ${values.suite}, want one of ${suites.map((s) => s.name)}`)
const each = Math.ceil(Number(values.kills) / chosen.length)
const folder = await mkdtemp(join(tmpdir(), 'hedgehog-kills-'))
try {
  await prepare(folder, program)
  let total = 0
  for (const suite of chosen) {
    const began = performance.now()
    const { kills, starts } = await killed(suite, folder, program, { kills: each, seed: Number(values.seed) })
    total += kills
    const seconds = Math.round((performance.now() - began) / 1000)
    console.log(`${suite.name.padEnd(12)} ${kills} kills in ${starts} starts, ${seconds} s: every result the same`)
  }
  console.log(`${total} kills`)
} finally {
  await rm(folder, { recursive: true, force: true })
}
