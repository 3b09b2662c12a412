/** The page's side of a worker: starts jobs, hands on what they tell, stops them. */

import type { FromWorker, JobName, Jobs, ToWorker } from './protocol.ts'

/** Options of {@link Desk.run}. */
export interface RunOptions<N extends JobName> {
  readonly see?: (news: Jobs[N]['news']) => void
  /** Asks the job to stop, which then fails with an error named `Interrupted`. */
  readonly signal?: AbortSignal
}

/** A worker of its own: jobs on one desk share devices and models, and another desk's jobs do not hold them up. */
export interface Desk {
  /** @throws Error with the name and message of what failed in the worker. */
  run<N extends JobName>(name: N, input: Jobs[N]['input'], options?: RunOptions<N>): Promise<Jobs[N]['result']>
  /** Ends the worker and all that runs in it; the next job begins a new one. */
  close(): void
}

interface Waiting {
  readonly see: (news: unknown) => void
  readonly done: (result: unknown) => void
  readonly failed: (error: Error) => void
}

/** A desk; its worker is started with the first job. */
export function openDesk(): Desk {
  const waiting = new Map<number, Waiting>()
  let worker: Worker | undefined
  let nextId = 0

  const end = (error: Error) => {
    worker?.terminate()
    worker = undefined
    const jobs = [...waiting.values()]
    waiting.clear()
    for (const { failed } of jobs) failed(error)
  }

  const started = (): Worker => {
    if (worker) return worker
    worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => receive(data))
    worker.addEventListener('error', (event) => {
      event.preventDefault()
      const reason = event.message || 'its program could not be loaded'
      end(new Error(`The worker stopped: ${reason}. Work that was saved goes on when it is started again.`))
    })
    return worker
  }

  const receive = (message: FromWorker) => {
    const job = waiting.get(message.id)
    if (!job) return
    if (message.kind === 'news') return job.see(message.news)
    waiting.delete(message.id)
    if (message.kind === 'done') job.done(message.result)
    else job.failed(named(message.name, message.message))
    // A worker whose engine has failed is of no use to a next job.
    if (message.kind === 'failed' && message.name === 'EngineFault') end(named('EngineFault', message.message))
  }

  return {
    run(name, input, { see, signal } = {}) {
      const id = nextId++
      const send = (message: ToWorker) => started().postMessage(message)
      const stop = () => waiting.has(id) && send({ kind: 'stop', id })
      return new Promise((resolve, reject) => {
        waiting.set(id, {
          see: (news) => see?.(news as Jobs[typeof name]['news']),
          done: (result) => resolve(result as Jobs[typeof name]['result']),
          failed: reject,
        })
        send({ kind: 'start', id, name, input })
        if (signal?.aborted) stop()
        signal?.addEventListener('abort', stop, { once: true })
      })
    },
    close: () => end(named('Interrupted', 'The job was ended.')),
  }
}

function named(name: string, message: string): Error {
  return Object.assign(new Error(message), { name })
}
