#!/usr/bin/env node
/** The `hedgehog` command: the table of commands, run against this process. */

import { readFileSync } from 'node:fs'
import { commands } from './commands.ts'
import { runCommandLine } from './program.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

// `hedgehog … | head` closes the pipe early; that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

process.exitCode = await runCommandLine(process.argv.slice(2), commands, {
  out: process.stdout,
  err: process.stderr,
  env: process.env,
  signals: process,
  lines: { input: process.stdin, output: process.stdout },
  version,
  now: () => performance.now() / 1000,
  memory: () => process.memoryUsage.rss(),
  exit: (code) => process.exit(code),
})
