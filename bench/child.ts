/** The process of one case: prepares it, measures a round whenever it is asked to, and tells its peak of memory. */

import { readFileSync } from 'node:fs'
import type { Cases, Reply } from './measure.ts'

const [module, name, options] = process.argv.slice(2) as [string, string, string]

const { cases } = (await import(module)) as { cases: Cases }
const prepared = (cases[name] as (options: unknown) => Promise<() => Promise<number>>)(JSON.parse(options))
answer(async () => {
  await prepared
  return 0
})
process.on('message', (message) => {
  if (message === 'round') answer(async () => (await prepared)())
  else answer(peakMemory)
})

async function answer(work: () => number | Promise<number>): Promise<void> {
  let reply: Reply
  try {
    reply = { value: await work() }
  } catch (error) {
    reply = { error: (error as Error).message }
  }
  process.send!(reply)
}

/** The most memory this process ever held, in bytes. On Linux not `maxRSS`, which counts the parent's before `exec`. */
function peakMemory(): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}
