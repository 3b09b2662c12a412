/** Command lines run in this process, as a person would run them. */

import { EventEmitter } from 'node:events'
import { commands } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/program.ts'

/** Gets each line of progress, and a way to press Ctrl-C. */
export type See = (record: { phase?: string; step?: number; [name: string]: unknown }, interrupt: () => void) => void

/** What a command line wrote, and its exit code; `last` is the last line of its output. */
export async function hedgehog(argv: readonly string[], see?: See, signals = new EventEmitter()) {
  const written = { out: '', err: '' }
  const write = (text: string) => {
    written.out += text
    if (see && text.startsWith('{')) see(JSON.parse(text), () => signals.emit('SIGINT'))
  }
  const code = await runCommandLine([...argv], commands, {
    out: { write },
    err: { write: (text) => (written.err += text) },
    ...{ env: {}, signals, version: '1.2.3', now: () => 0, memory: () => 0, exit: () => {} },
  })
  return { code, ...written, last: written.out.trimEnd().split('\n').at(-1)! }
}
