/**
 * Damages small files of every format tens of thousands of times, and tells what the readers made of it.
 * `node --max-old-space-size=256 --import tsx scripts/fuzz-formats.ts [--runs N] [--seed N] [NAME…]`
 * Each must be read or refused in one line; test/io/hostile.test.ts does the same a few thousand times.
 */

import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { formatBytes } from '../src/base/format.ts'
import { editsOf, outcomeOf, targets } from '../test/hostile.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: 'string', default: '5000' }, seed: { type: 'string', default: `${Date.now() % 2 ** 31}` } },
})
const [numRuns, seed] = [Number(values.runs), Number(values.seed)]

console.log(`seed ${seed}, ${numRuns} files of each kind`)
for (const [name, target] of Object.entries(targets)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue
  const seen = { read: 0, refused: 0, slowest: 0 }
  const property = fc.asyncProperty(editsOf(target), async (list) => {
    const { result, milliseconds } = await outcomeOf(target, list)
    seen[result]++
    seen.slowest = Math.max(seen.slowest, milliseconds)
  })
  const details = await fc.check(property, { numRuns, seed })
  const { read, refused, slowest } = seen
  console.log(`${name.padEnd(22)} ${read} read, ${refused} refused, the slowest in ${slowest.toFixed(0)} ms`)
  if (details.failed) {
    process.exitCode = 1
    console.error(`${name}: ${fc.stringify(details.counterexample)}\n${(details.errorInstance as Error)?.stack}`)
  }
}
console.log(`peak memory ${formatBytes(process.resourceUsage().maxRSS * 1024)}`)
