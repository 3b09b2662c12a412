/** The server's side of the model's thread: jobs go in, their events come out, and it ends only between two steps. */

import { Worker } from 'node:worker_threads'
import { type Channel, createChannel } from '../generate/channel.ts'
import type { EngineCounts, EngineInfo, EngineSettings, FromEngine, Job, JobEvent, ToEngine } from './protocol.ts'

/** A model in a thread of its own. */
export interface Engine {
  readonly info: EngineInfo
  /** A job's events. Aborting the signal ends the job in the model's thread, and the iteration with its reason. */
  run(job: Job, signal: AbortSignal): AsyncGenerator<JobEvent, void, void>
  /** What the thread did when it was last heard of. */
  counts(): EngineCounts
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>
  /** Why the thread ended; undefined while it works. */
  failure(): Error | undefined
  /** Ends all jobs, waits for the step that runs, and ends the thread. */
  close(): Promise<void>
}

const nothing: EngineCounts = {
  waiting: 0,
  reading: 0,
  writing: 0,
  readTokens: 0,
  knownTokens: 0,
  writtenTokens: 0,
  prefixes: 0,
  prefixBytes: 0,
}

/** Starts a thread and opens a model in it. @throws Error with its reason when the model cannot be opened. */
export async function startEngine(settings: EngineSettings): Promise<Engine> {
  const worker = startThread(settings)
  const jobs = new Map<number, Channel<JobEvent, void>>()
  let counts = nothing
  let failure: Error | undefined
  let last = 0
  const send = (message: ToEngine) => worker.postMessage(message)
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const fail = (error: Error) => {
    failure ??= error
    for (const channel of jobs.values()) channel.fail(failure)
    jobs.clear()
  }
  worker.once('error', (error) =>
    fail(new Error(`engine: the model's thread failed: ${error.message}`, { cause: error })),
  )
  worker.once('exit', () => fail(new Error("engine: the model's thread has ended")))
  const info = await new Promise<EngineInfo>((resolve, reject) => {
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`engine: the model's thread ended with code ${code}`)))
    worker.on('message', (message: FromEngine) => {
      if (message.kind === 'ready') resolve(message.info)
      else if (message.kind === 'refused') reject(new Error(message.message))
      else {
        counts = message.counts
        for (const [id, event] of message.events) receive(id, event)
      }
    })
  })
  const receive = (id: number, event: JobEvent) => {
    const channel = jobs.get(id)
    channel?.push(event)
    if (event.kind !== 'ended' && event.kind !== 'failed') return
    channel?.end()
    jobs.delete(id)
  }

  return {
    info,
    run(job, signal) {
      const id = ++last
      const abort = () => {
        jobs.get(id)?.fail(signal.reason)
        leave()
      }
      const leave = () => {
        signal.removeEventListener('abort', abort)
        if (jobs.delete(id) && !failure) send({ kind: 'cancel', id })
      }
      const channel = createChannel<JobEvent, void>(leave)
      if (failure) channel.fail(failure)
      else if (signal.aborted) channel.fail(signal.reason)
      else {
        jobs.set(id, channel)
        signal.addEventListener('abort', abort)
        send({ kind: 'start', id, job })
      }
      return channel.values()
    },
    ended,
    counts: () => counts,
    failure: () => failure,
    async close() {
      // Ending a thread from outside while the engine runs a graph in it would end the whole process.
      if (!failure) send({ kind: 'close' })
      await ended
    },
  }
}

function startThread(workerData: EngineSettings): Worker {
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL('./worker.js', import.meta.url), { workerData })
  // Run from its sources, the process was started with tsx; a thread has to be told so itself.
  const [loader, file] = [import.meta.resolve('tsx/esm/api'), new URL('./worker.ts', import.meta.url).href]
  const code = `const load = (url) => import(url); load('${loader}').then(({ register }) => { register(); return load('${file}') })`
  return new Worker(code, { eval: true, workerData })
}
