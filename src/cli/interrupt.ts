/** Ctrl-C in two stages: the first asks the running job to stop and save, the second leaves at once. */

import { Interrupted } from '../base/errors.ts'

/** The exit code of an interrupted command: 128 + SIGINT, as shells have it. */
export const interruptedExitCode = 130

/** The part of `process` that is listened to. */
export interface SignalSource {
  on(name: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  off(name: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
}

/** A signal that the first Ctrl-C aborts, and a way to stop listening. */
export interface Interrupt {
  /** Its reason is an {@link Interrupted}, so `signal.throwIfAborted()` ends a job that has nothing to save. */
  readonly signal: AbortSignal
  /** Runs work that the next Ctrl-C ends instead: it is given a signal of its own. One at a time. */
  part<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>
  /** What a signal does, for a terminal that hands Ctrl-C over as a key. */
  press(): void
  release(): void
}

/**
 * Listens for SIGINT and SIGTERM until released.
 * @param say - shows one line to the person who pressed Ctrl-C
 * @param exit - ends the process; called with 130 on the second signal
 */
export function listenForInterrupt(
  source: SignalSource,
  say: (line: string) => void,
  exit: (code: number) => void,
): Interrupt {
  const controller = new AbortController()
  let inner: AbortController | undefined
  const end = () => {
    if (controller.signal.aborted) return exit(interruptedExitCode)
    say('stopping after this step; press Ctrl-C again to leave at once')
    controller.abort(new Interrupted('interrupted; nothing was saved'))
    inner?.abort(controller.signal.reason)
  }
  const press = () => {
    if (inner && !inner.signal.aborted) inner.abort(new Interrupted('interrupted'))
    else end()
  }
  source.on('SIGINT', press)
  source.on('SIGTERM', end)
  return {
    signal: controller.signal,
    async part(work) {
      const own = new AbortController()
      inner = own
      try {
        return await work(own.signal)
      } finally {
        inner = undefined
      }
    },
    press,
    release: () => {
      source.off('SIGINT', press)
      source.off('SIGTERM', end)
    },
  }
}
