/** Lines that a person types, or that are piped in, one when it is asked for. */

import { createInterface } from 'node:readline'
import type { Lines } from './command.ts'

/** Where lines come from; with `output` a person can edit them. */
export interface LineSource {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly output: NodeJS.WritableStream
}

/**
 * @param write shows what is asked
 * @param interrupt called for Ctrl-C, which a terminal in this mode does not make a signal of
 */
export function openLines({ input, output }: LineSource, write: (text: string) => void, interrupt: () => void): Lines {
  const terminal = input.isTTY === true
  const reader = createInterface(terminal ? { input, output, terminal } : { input, terminal })
  const waiting: string[] = []
  let ended = false
  let wake = () => {}
  reader.on('line', (line) => {
    waiting.push(line)
    wake()
  })
  reader.on('close', () => {
    ended = true
    wake()
  })
  reader.on('SIGINT', interrupt)
  return {
    terminal,
    async ask(prompt, signal) {
      if (terminal) {
        reader.setPrompt(prompt)
        reader.prompt()
      } else write(prompt)
      while (waiting.length === 0 && !ended && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
      }
      return signal.aborted ? undefined : waiting.shift()
    },
    close: () => reader.close(),
  }
}
